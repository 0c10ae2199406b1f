"""Runs the processes of pytest-xdist as forks of one process that has imported the tests.

pytest-xdist starts this script in place of an interpreter: `--tx "8*popen//python=python tests/process_forks.py"`. A fork does not
import the tests and their libraries again, which takes 3 of the 5 seconds of CPU time before its first test. Options of the
script are options of pytest: those that say which tests are imported.
"""

import contextlib
import importlib
import os
import select
import socket
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

PLUGINS = ("-p", "no:cacheprovider", "-p", "no:textual-snapshot")
"""Options that exclude plugins that write files: pytest-textual-snapshot would remove the folder of the run at the end."""


def main() -> int:
    """Let a fork execute SOURCE of `script OPTIONS -u -c SOURCE`, with the streams of this process. Returns its exit code."""
    *options, _, _, source = sys.argv[1:]
    if not hasattr(os, "pidfd_open"):  # Linux 5.3 and later
        os.execv(sys.executable, [sys.executable, "-u", "-c", source])
    address = Path(tempfile.gettempdir(), f"pytest-processes-{os.getppid()}")
    with socket.socket(socket.AF_UNIX) as connection:
        if connection.connect_ex(str(address)):
            begin(address, options)
            connection.connect(str(address))
        socket.send_fds(connection, [source.encode()], [0, 1, 2])
        for stream in (0, 1):
            os.close(stream)  # pytest-xdist is to see their end when the fork ends
        return int(connection.recv(4) or 1)


def begin(address: Path, options: list[str]) -> None:
    """Start the process that forks. It ends with pytest, whose child this process is."""
    address.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(address))
    listener.listen()
    pytest = os.pidfd_open(os.getppid())
    if os.fork():
        listener.close()
        return
    os.setsid()  # Ctrl+C is for pytest, which ends its processes
    nowhere = os.open(os.devnull, os.O_RDWR)
    for stream in (0, 1):
        os.dup2(nowhere, stream)
    preload(options)
    watched: list[socket.socket | int] = [listener, pytest]
    while listener in select.select(watched, [], [])[0]:
        serve(listener.accept()[0])
    address.unlink()
    os._exit(0)


def preload(options: list[str]) -> None:
    """Import what pytest imports when it collects the tests, and what many tests import."""
    # In place of this script's own folder, whose modules must not be top-level modules.
    sys.path[0] = str(Path(__file__).parents[1])
    import pytest

    pytest.main(["--collect-only", "-qqq", *PLUGINS, *options])
    from tests.program_forks import USED_LATER
    from tests.worker_forks import share_memory

    for library in USED_LATER:
        importlib.import_module(library)
    share_memory()


def serve(connection: socket.socket) -> None:
    """Run code in a fork. Its parent is another fork, which waits for it and sends its exit code."""
    source, streams, _, _ = socket.recv_fds(connection, 4096, 3)
    with connection:
        if os.fork() == 0:
            if (process := os.fork()) == 0:
                run(source.decode(), streams)
            for stream in streams:
                os.close(stream)
            code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
            # pytest-xdist may have killed the process that waits for the code.
            with contextlib.suppress(BrokenPipeError):
                connection.sendall(str(code).encode())
            os._exit(0)
    for stream in streams:
        os.close(stream)


def run(source: str, streams: list[int]) -> NoReturn:
    """Run code with these streams, as a new interpreter runs it."""
    from tests.program_forks import leave

    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    sys.argv[:] = ["-c"]
    exec(source, {"__name__": "__main__"})
    leave(0)


if __name__ == "__main__":
    sys.exit(main())
