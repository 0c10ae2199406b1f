"""Runs the program in forks of a process that has imported it.

A fork is a process of its own, with its own pipes, environment and exit code. It does not start an interpreter and import
the program again, which takes nine tenths of the CPU time of a short command. Its workers are forks, too.

pytest imports this module and calls `start` or `run`. The interpreter that forks runs it as a script, one for all processes of
a run of tests.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import fcntl
import functools
import importlib
import io
import json
import os
import pkgutil
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, NoReturn, TypeAlias

if __name__ == "__main__":
    sys.path.append(str(Path(__file__).parents[1]))
from tests import worker_forks

PRELOADED = ("paragone_assertions", "paragone_cli", "paragone_remote", "paragone_tui", "paragone_workbench")
"""Packages whose modules are all imported before the first fork, with the libraries that they use."""

USED_LATER = ("anyio._backends._asyncio", "httpcore", "jsonschema", "platformdirs", "scipy.stats", "tomllib")
"""Libraries that these packages, or their libraries, import when they first use them."""


SETTINGS = worker_forks.for_interpreter(os.environ)
"""Those of the process that forks: pytest imports this module before any test changes them."""

MAIN = "\nimport sys\nfrom paragone_cli.main import main\nsys.exit(main())\n"
"""What the script of the program does."""


class Program:
    """A program in a fork: the part of `subprocess.Popen` that tests need."""

    def __init__(
        self, args: Sequence[str], told: int, stdin: int | None, stdout: int | None, stderr: int | None
    ) -> None:
        self.args = args
        self.returncode: int | None = None
        self._told = io.FileIO(told)
        self.stdin = None if stdin is None else io.FileIO(stdin, "w")
        self.stdout = None if stdout is None else io.FileIO(stdout)
        self.stderr = None if stderr is None else io.FileIO(stderr)
        self.pid = _number(self._told.read(4))

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in filter(None, (self.stdin, self.stdout, self.stderr)):
            pipe.close()
        self.wait()

    def poll(self) -> int | None:
        if self.returncode is None and select.select([self._told], [], [], 0)[0]:
            self.wait()
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        if self.returncode is None:
            if not select.select([self._told], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            self.returncode = _number(self._told.read(4))
            self._told.close()
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def communicate(
        self, data: bytes = b"", timeout: float | None = None
    ) -> tuple[bytes | None, bytes | None]:
        """Write to its standard input, and read its outputs, until it has ended."""
        with ThreadPoolExecutor(3) as executor:
            written = executor.submit(_write, self.stdin, data)
            out, err = executor.submit(_read, self.stdout), executor.submit(_read, self.stderr)
            try:
                self.wait(timeout)
            except subprocess.TimeoutExpired:
                self.kill()
                raise
            written.result()
            return out.result(), err.result()


Stream: TypeAlias = int | BinaryIO
"""`subprocess.PIPE`, `subprocess.DEVNULL`, or an open file."""


def run(program: str, argv: Sequence[str], data: bytes, timeout: float) -> subprocess.CompletedProcess[bytes]:
    """Run the program to its end, as `subprocess.run` does; its standard input is a pipe."""
    if not _may_fork(os.environ):
        return subprocess.run([program, *argv], input=data, capture_output=True, timeout=timeout)
    pipe = subprocess.PIPE
    with _server().start(program, argv, pipe, pipe, pipe, os.environ) as process:
        out, err = process.communicate(data, timeout)
        return subprocess.CompletedProcess(process.args, process.wait(), out, err)


def start(
    program: str,
    argv: Sequence[str],
    stdin: Stream,
    stdout: Stream,
    stderr: Stream,
    *,
    environment: Mapping[str, str] | None = None,
    new_session: bool = False,
    first: str = "",
) -> Program | subprocess.Popen[bytes]:
    """Start the program, as `subprocess.Popen` does without buffers. `first` is code that its process executes before."""
    environment = os.environ if environment is None else environment
    if _may_fork(environment):
        return _server().start(
            program, argv, stdin, stdout, stderr, environment, new_session=new_session, first=first
        )
    return subprocess.Popen(
        [sys.executable, "-c", first + MAIN, *argv] if first else [program, *argv],
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        bufsize=0,
        env=environment,
        start_new_session=new_session,
    )


def close() -> None:
    """Close the connection to the process that forks, if there is one."""
    if _server.cache_info().currsize:
        _server().close()
        _server.cache_clear()


def wants_new_process(environment: Mapping[str, str]) -> bool:
    """Whether a new interpreter would have other settings than this one."""
    return worker_forks.for_interpreter(environment) != SETTINGS


def _may_fork(environment: Mapping[str, str]) -> bool:
    """Whether a fork is what a new interpreter would be, which reads its settings from the environment.

    Folders may have been put on its path, if no module in them takes the place of another.
    """
    wanted = worker_forks.for_interpreter(environment)
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
    """The connection to the process that forks, which ends with its last connection."""

    def __init__(self) -> None:
        run = os.environ.get("PYTEST_XDIST_TESTRUNUID", os.getpid())
        address = Path(tempfile.gettempdir(), f"pytest-forks-{run}")
        self._connection = socket.socket(socket.AF_UNIX)
        with Path(__file__).open() as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            try:
                self._connection.connect(str(address))
            except (FileNotFoundError, ConnectionRefusedError):
                address.unlink(missing_ok=True)
                _begin(address)
                self._connection.connect(str(address))

    def start(
        self,
        program: str,
        argv: Sequence[str],
        stdin: Stream,
        stdout: Stream,
        stderr: Stream,
        environment: Mapping[str, str],
        *,
        new_session: bool = False,
        first: str = "",
    ) -> Program:
        args = [program, *argv]
        request = {
            "argv": args,
            "cwd": os.getcwd(),
            "env": {**environment},
            "new_session": new_session,
            "first": first,
        }
        told, end = os.pipe()
        its_stdin, our_stdin = _ends(stdin, to_program=True)
        its_stdout, our_stdout = _ends(stdout)
        its_stderr, our_stderr = _ends(stderr)
        theirs = [its_stdin, its_stdout, its_stderr, end]
        socket.send_fds(self._connection, [json.dumps(request).encode() + b"\n"], theirs)
        for descriptor in set(theirs) - set(map(_number_of, (stdin, stdout, stderr))):
            os.close(descriptor)
        return Program(args, told, our_stdin, our_stdout, our_stderr)

    def close(self) -> None:
        self._connection.close()


def _begin(address: Path) -> None:
    """Start the process that forks. It listens at this address."""
    changed = worker_forks.for_interpreter(os.environ)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(address))
        listener.listen()
        with subprocess.Popen(
            [sys.executable, __file__, str(listener.fileno())],
            env={k: v for k, v in os.environ.items() if k not in changed} | SETTINGS,
            pass_fds=[listener.fileno()],
            # Pipes, as the forks have: the stream objects of Python that they inherit are made for these.
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        ):
            pass  # the process ends immediately, and leaves the process that forks


@functools.cache
def _server() -> _Server:
    return _Server()


def _number(data: bytes) -> int:
    assert len(data) == 4, "the process that forks has ended"
    return int.from_bytes(data, "little", signed=True)


def _ends(stream: Stream, *, to_program: bool = False) -> tuple[int, int | None]:
    """Return the program's end of a stream, and ours if it is a pipe."""
    if stream == subprocess.DEVNULL:
        return os.open(os.devnull, os.O_RDWR), None
    if stream != subprocess.PIPE:
        return _number_of(stream), None
    reading, writing = os.pipe()
    return (reading, writing) if to_program else (writing, reading)


def _number_of(stream: Stream) -> int:
    return stream if isinstance(stream, int) else stream.fileno()


def _write(pipe: io.FileIO | None, data: bytes) -> None:
    if pipe is not None:
        with contextlib.suppress(BrokenPipeError), pipe:
            while data:
                data = data[pipe.write(data) :]


def _read(pipe: io.FileIO | None) -> bytes | None:
    return None if pipe is None else pipe.read()


# ── In the process that forks ──────────────────────────────────────────────────────────────────


def serve(listener: socket.socket, defaults: Mapping[str, str]) -> None:
    """Fork for each request, to run a program, and write its process id and its exit code to the request's last descriptor.

    Its workers have the variables of `defaults` if nothing else sets them. Returns when the last connection is closed.
    """
    connections: list[socket.socket] = []
    programs: dict[int, int] = {}  # process ids, and where to write the exit codes
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        watched: list[socket.socket | int] = [listener, woken, *connections]
        ready, _, _ = select.select(watched, [], [])
        if woken in ready:
            os.read(woken, 4096)
            for pid in list(programs):
                if (status := os.waitpid(pid, os.WNOHANG))[0]:
                    _write_number(programs.pop(pid), os.waitstatus_to_exitcode(status[1]), last=True)
        if listener in ready:
            connections.append(listener.accept()[0])
        for connection in [it for it in connections if it in ready]:
            request, descriptors, _, _ = socket.recv_fds(connection, 65536, 4)
            if not request:
                connections.remove(connection)
                connection.close()
                if not connections:
                    return
                continue
            while not request.endswith(b"\n"):
                request += connection.recv(65536)
            *streams, end = descriptors
            if (pid := os.fork()) == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                for descriptor in (woken, wake, end, *programs.values()):
                    os.close(descriptor)
                for it in (listener, *connections):
                    it.close()
                run_program(json.loads(request), streams, defaults)
            for descriptor in streams:
                os.close(descriptor)
            programs[pid] = end
            _write_number(end, pid)


def _write_number(descriptor: int, number: int, *, last: bool = False) -> None:
    with contextlib.suppress(BrokenPipeError):  # the tests do not wait for the program any more
        os.write(descriptor, number.to_bytes(4, "little", signed=True))
    if last:
        os.close(descriptor)


def run_program(request: dict, streams: Sequence[int], defaults: Mapping[str, str]) -> NoReturn:
    """Run the program in this fork."""
    for number, descriptor in enumerate(streams):
        os.dup2(descriptor, number)
        os.close(descriptor)
    if request["new_session"]:
        os.setsid()
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(line_buffering=stream is sys.stderr or stream.isatty())
    os.chdir(request["cwd"])
    sys.path[1:1] = _added(request["env"].get("PYTHONPATH", ""), os.environ.get("PYTHONPATH", "")) or ()
    os.environ.clear()
    os.environ.update(request["env"])
    sys.argv = request["argv"]
    if worker_forks.can_fork_workers():
        setattr(asyncio, "create_subprocess_exec", worker_forks.ForkServer.fork(defaults).start)  # noqa: B010 (another type)
    exec(request["first"], {})
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
    if os.fork():
        os._exit(0)  # the process that forks is then no child of tests, which look for children that are left
    sys.path[0] = os.path.dirname(sys.executable)  # as for the installed script
    for package in map(importlib.import_module, PRELOADED):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            importlib.import_module(module.name)
    importlib.import_module("paragone.discovery").discover()
    for library in USED_LATER:
        importlib.import_module(library)
    metadata.version("paragone")  # imports the parser of what is known of a package
    commands = importlib.import_module("paragone_cli.commands")
    for name in ("", *commands.COMMANDS):
        commands.help_of(name)  # compiles the regular expressions of argparse
    pages = vars(importlib.import_module("paragone_workbench.reporting.file"))["_environment"]()
    for name in pages.list_templates(["j2"]):
        pages.get_template(name)  # compiles it
    defaults = worker_forks.preload()
    worker_forks.share_memory()
    with socket.socket(fileno=int(sys.argv[1])) as listener:
        serve(listener, defaults)
        os.unlink(listener.getsockname())
