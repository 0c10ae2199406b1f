"""Runs the program in forks of a process that has imported it.

A fork is a process of its own, with its own pipes, environment and exit code. It does not start an interpreter and import
the program again, which takes nine tenths of the CPU time of a short command. Its workers are forks, too.

pytest imports this module and calls `run`. The interpreter that forks runs it as a script.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import NoReturn

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[2]))
from tests import worker_forks

PRELOADED = ("paragone_assertions", "paragone_cli", "paragone_workbench")
"""Packages whose modules are all imported before the first fork, with the libraries that they use."""


SETTINGS = worker_forks.for_interpreter(os.environ)
"""Those of the process that forks: pytest imports this module before any test changes them."""


def run(program: str, argv: Sequence[str], data: bytes, timeout: float) -> subprocess.CompletedProcess[bytes]:
    """Run the program to its end, as `subprocess.run` does; its standard input is a pipe."""
    if not _may_fork():
        return subprocess.run([program, *argv], input=data, capture_output=True, timeout=timeout)
    return _server().run(program, argv, data, timeout)


def close() -> None:
    """End the process that forks, if there is one."""
    if _server.cache_info().currsize:
        _server().close()
        _server.cache_clear()


def _may_fork() -> bool:
    """Whether a fork is what a new interpreter would be, which reads its settings from the environment.

    Folders may have been put on its path, if no module in them takes the place of another.
    """
    wanted = worker_forks.for_interpreter(os.environ)
    added = _added(wanted.get("PYTHONPATH", ""), SETTINGS.get("PYTHONPATH", ""))
    same = {**wanted, "PYTHONPATH": ""} == {**SETTINGS, "PYTHONPATH": ""}
    return same and added is not None and not any(map(_replaces_modules, added))


def _added(path: str, to: str) -> list[str] | None:
    """Return the folders that are in front of a path; None if the path is another one."""
    if path == to:
        return []
    return path.removesuffix(f":{to}").split(":") if path.endswith(f":{to}") else None


def _replaces_modules(folder: str) -> bool:
    """Whether Python would find another module without this folder, or run code from it when it starts."""
    names = {name.partition(".")[0] for name in os.listdir(folder) if "-" not in name} - {"__pycache__"}
    return not names.isdisjoint({"sitecustomize", "usercustomize"}) or any(map(find_spec, names))


class _Server:
    """The process that forks."""

    def __init__(self) -> None:
        changed = worker_forks.for_interpreter(os.environ)
        self._connection, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, __file__, str(theirs.fileno())],
                env={k: v for k, v in os.environ.items() if k not in changed} | SETTINGS,
                pass_fds=[theirs.fileno()],
                # Pipes, as the forks have: the stream objects of Python that they inherit are made for these.
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )

    def run(
        self, program: str, argv: Sequence[str], data: bytes, timeout: float
    ) -> subprocess.CompletedProcess[bytes]:
        (stdin, its_stdin), (its_stdout, stdout), (its_stderr, stderr), (ended, end) = (
            os.pipe() for _ in range(4)
        )
        request = {"argv": [program, *argv], "cwd": os.getcwd(), "env": dict(os.environ)}
        theirs = [stdin, stdout, stderr, end]
        socket.send_fds(self._connection, [json.dumps(request).encode() + b"\n"], theirs)
        for descriptor in theirs:
            os.close(descriptor)
        with open(ended, "rb", buffering=0) as told, ThreadPoolExecutor(3) as executor:
            written = executor.submit(_write, its_stdin, data)
            out, err = executor.submit(_read, its_stdout), executor.submit(_read, its_stderr)
            pid = _number(told.read(4))
            if not select.select([told], [], [], timeout)[0]:
                os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired([program, *argv], timeout)
            status = _number(told.read(4))
            written.result()
            return subprocess.CompletedProcess([program, *argv], status, out.result(), err.result())

    def close(self) -> None:
        self._connection.close()
        self._process.communicate()


@functools.cache
def _server() -> _Server:
    return _Server()


def _number(data: bytes) -> int:
    assert len(data) == 4, "the process that forks has ended"
    return int.from_bytes(data, "little", signed=True)


def _write(descriptor: int, data: bytes) -> None:
    with contextlib.suppress(BrokenPipeError), open(descriptor, "wb") as pipe:
        pipe.write(data)


def _read(descriptor: int) -> bytes:
    with open(descriptor, "rb") as pipe:
        return pipe.read()


# ── In the process that forks ──────────────────────────────────────────────────────────────────


def serve(connection: socket.socket) -> None:
    """Fork for each request, to run a program, and write its process id and its exit code to the request's last descriptor.

    Returns when the other side closes the connection.
    """
    programs: dict[int, int] = {}  # process ids, and where to write the exit codes
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select([connection.fileno(), woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            for pid in list(programs):
                if (status := os.waitpid(pid, os.WNOHANG))[0]:
                    _write_number(programs.pop(pid), os.waitstatus_to_exitcode(status[1]), last=True)
        if connection.fileno() not in ready:
            continue
        request, descriptors, _, _ = socket.recv_fds(connection, 65536, 4)
        if not request:
            return
        while not request.endswith(b"\n"):
            request += connection.recv(65536)
        *streams, end = descriptors
        if (pid := os.fork()) == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for descriptor in (connection.detach(), woken, wake, end, *programs.values()):
                os.close(descriptor)
            run_program(json.loads(request), streams)
        for descriptor in streams:
            os.close(descriptor)
        programs[pid] = end
        _write_number(end, pid)


def _write_number(descriptor: int, number: int, *, last: bool = False) -> None:
    with contextlib.suppress(BrokenPipeError):  # the tests do not wait for the program any more
        os.write(descriptor, number.to_bytes(4, "little", signed=True))
    if last:
        os.close(descriptor)


def run_program(request: dict, streams: Sequence[int]) -> NoReturn:
    """Run the program in this fork."""
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    os.chdir(request["cwd"])
    sys.path[1:1] = _added(request["env"].get("PYTHONPATH", ""), os.environ.get("PYTHONPATH", "")) or ()
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = request["argv"]
    if worker_forks.can_fork_workers():
        setattr(asyncio, "create_subprocess_exec", worker_forks.ForkServer.fork().start)  # noqa: B010 (another type)
    leave(importlib.import_module("paragone_cli.main").main())


def leave(status: int) -> NoReturn:
    """End this fork as an interpreter ends, but do not take its objects apart: that would copy all memory that it shares."""
    vars(threading)["_shutdown"]()
    atexit._run_exitfuncs()
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            status = 120
        except ValueError:  # it is closed
            continue
    os._exit(status)


if __name__ == "__main__":
    sys.path[0] = os.path.dirname(sys.executable)  # as for the installed script
    for package in map(importlib.import_module, PRELOADED):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    importlib.import_module("paragone.discovery").discover()
    worker_forks.preload()
    gc.freeze()  # a collection in a fork would copy the memory that it shares
    serve(socket.socket(fileno=int(sys.argv[1])))
