"""Starts the workers of engines as forks of a process that has imported what workers import.

A fork is a process of its own, a child of the process of the tests, with its own pipe, log and environment; `start.py` runs
in it as in a new interpreter. It does not import the standard library, numpy and the plugin interface again, which takes most
of the CPU time of a short-lived worker. A `ForkServer` forks the workers of one interpreter; others are started as the program
starts them. So are all workers of a test that uses the fixture `new_interpreters`, because it examines how a worker starts.

pytest imports this module. The interpreter that forks runs it as a script: `worker_forks.py FD FOLDER [FOLDER MODULE]`, with
the folder of the plugin interface, which may not be installed there, and a module of a backend with its folder.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import faulthandler
import functools
import gc
import importlib
import importlib.util
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, NoReturn

if __name__ == "__main__":
    sys.path[0] = sys.argv[2]  # in place of this script's own folder

import paragone
from paragone.worker.process import passed_variables

PRELOADED = (
    "email.parser",
    "importlib.metadata",
    "importlib.resources",
    "jinja2.ext",
    "numpy",
    "paragone.backend",
    "paragone.chat_prompt",
    "paragone.shared_options",
    "paragone.chat_template",
    "paragone.answer_text",
    "paragone.gguf",
    "paragone.models",
    "paragone.requests",
    "paragone.worker.confinement",
    "paragone.worker.serve",
    "paragone.worker.native",
    "paragone_llama_cpp.engine",
    "rogue_backend.engine",
    "zipfile",
)
"""What most workers import, where their interpreter has them. No module here loads the library of an engine."""

START = Path("paragone", "worker", "start.py")
PR_SET_CHILD_SUBREAPER = 36
MADV_COLLAPSE = 25

_TURN = threading.Lock()
"""Held from a request to its answer: backends are probed in threads of their own."""
_start_program = asyncio.create_subprocess_exec


class ForkedProcess:
    """A child process that this one did not start itself: the part of `asyncio.subprocess.Process` that workers need."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.returncode: int | None = None
        self._ended = asyncio.Event()
        self._descriptor = os.pidfd_open(pid)
        asyncio.get_running_loop().add_reader(self._descriptor, self._reap)

    async def wait(self) -> int:
        await self._ended.wait()
        assert self.returncode is not None
        return self.returncode

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    def _reap(self) -> None:
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)
        self.returncode = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        self._ended.set()


class ForkServer:
    """The process that forks."""

    def __init__(
        self,
        connection: socket.socket,
        process: subprocess.Popen[bytes] | None = None,
        interpreter: str = sys.executable,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        if environment is None:
            environment = passed_variables() | {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
        self._settings = for_interpreter(environment)
        self._connection = connection
        self._process = process
        self._interpreter = interpreter

    @classmethod
    def launch(
        cls,
        interpreter: str = sys.executable,
        environment: Mapping[str, str] | None = None,
        engine: str | None = None,
    ) -> ForkServer:
        """Start a process that imports what workers need, and forks workers with this interpreter and environment.

        `engine` is the module of the engine, if its backend is not installed there.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            number = theirs.fileno()
            command = [interpreter, __file__, str(number), str(Path(paragone.__path__[0]).parent)]
            if engine is not None and (spec := importlib.util.find_spec(engine)) and spec.origin:
                command += [str(Path(spec.origin).parents[1]), engine]
            try:
                process = subprocess.Popen(
                    command, pass_fds=[number], stdin=subprocess.DEVNULL, env=environment
                )
            except OSError:  # there is no such interpreter
                ours.close()
                raise
            return cls(ours, process, interpreter, environment)

    @classmethod
    def fork(cls, defaults: Mapping[str, str]) -> ForkServer:
        """Let a fork of this process fork workers. This process has one thread, and has imported what workers need.

        The workers have these variables if nothing else sets them.
        """
        ours, theirs = socket.socketpair()
        if os.fork() == 0:
            ours.close()
            nowhere = os.open(os.devnull, os.O_RDWR)
            for number in range(3):  # the output of this process ends with this process
                os.dup2(nowhere, number)
            serve(theirs, defaults)
            become_worker()
        theirs.close()
        return cls(ours)

    async def start(self, *command: str, **settings: Any) -> ForkedProcess | asyncio.subprocess.Process:
        """Start a program as `asyncio.create_subprocess_exec` does: a worker as a fork."""
        if not is_worker(command, self._interpreter) or for_interpreter(settings["env"]) != self._settings:
            return await _start_program(*command, **settings)
        return ForkedProcess(
            self._fork(command[1:], settings["env"], settings["stdout"], *settings["pass_fds"])
        )

    def close(self) -> None:
        self._connection.close()
        if self._process is not None:
            self._process.wait()

    def _fork(self, argv: Sequence[str], environment: Mapping[str, str], log: IO[bytes], pipe: int) -> int:
        request = {"argv": argv, "env": environment, "cwd": os.getcwd(), "pipe": pipe}
        # The fork becomes a child of this process when the process between them ends.
        with _TURN:
            _adopt_orphans(True)
            try:
                socket.send_fds(
                    self._connection, [json.dumps(request).encode() + b"\n"], [log.fileno(), pipe]
                )
                answer = self._connection.recv(4)
            finally:
                _adopt_orphans(False)
            self._connection.sendall(b".")  # the worker may start its guard, which must not be adopted
            self._connection.recv(1)
        assert len(answer) == 4, "the process that forks has ended"
        return int.from_bytes(answer, "little")


@functools.cache
def can_fork_workers() -> bool:
    """Whether this system can: Linux 5.3 and later."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except (AttributeError, OSError):
        return False
    return True


def is_worker(command: Sequence[str], interpreter: str) -> bool:
    """Whether this command starts a worker with this interpreter."""
    return command[0] == interpreter and command[1].endswith(str(START))


def for_interpreter(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that an interpreter reads when it starts, so that a change needs a new one."""
    return {k: v for k, v in environment.items() if k.startswith(("PYTHON", "LC_", "LD_")) or k == "LANG"}


def _adopt_orphans(adopt: bool) -> None:
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0)


# ── In the process that forks ──────────────────────────────────────────────────────────────────


def serve(connection: socket.socket, defaults: Mapping[str, str]) -> None:
    """Fork for each request, until the other side closes the connection. Returns in a fork that is to become a worker."""
    while True:
        request, descriptors, _, _ = socket.recv_fds(connection, 1 << 16, 2)
        if not request:
            os._exit(0)
        while not request.endswith(b"\n"):
            request += connection.recv(1 << 16)
        ours, theirs = socket.socketpair()
        if (between := os.fork()) == 0:
            if os.fork() == 0:
                os.setsid()
                theirs.sendall(os.getpid().to_bytes(4, "little"))
                ours.close()
                connection.close()
                become(json.loads(request), *descriptors, defaults=defaults)
                guard_in_turn(theirs)
                return
            os._exit(0)
        theirs.close()
        for descriptor in descriptors:
            os.close(descriptor)
        os.waitpid(between, 0)  # from now on, the fork is a child of the process of the tests
        connection.sendall(ours.recv(4))
        if not (turn := connection.recv(1)):
            os._exit(0)
        ours.sendall(turn)
        ours.recv(1)
        connection.sendall(b".")
        ours.close()


def become(request: Mapping[str, Any], log: int, pipe: int, *, defaults: Mapping[str, str]) -> None:
    """Take the log, the pipe, the environment and the arguments of a worker."""
    parent = int(request["argv"][2])
    while os.getppid() != parent:
        time.sleep(0.0005)
    for number in (1, 2):
        os.dup2(log, number)
    os.close(log)
    os.set_inheritable(pipe, True)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update({**defaults, **request["env"]})
    sys.argv = [*request["argv"]]
    sys.argv[1] = str(pipe)
    sys.path.insert(0, os.path.dirname(sys.argv[0]))  # as for a script
    for stream in (sys.stdout, sys.stderr):
        assert isinstance(stream, io.TextIOWrapper)
        stream.reconfigure(write_through=True)  # as PYTHONUNBUFFERED does
    faulthandler.enable()


def guard_in_turn(turn: socket.socket) -> None:
    """Let this worker start its guard when it may, and close the connection then."""
    start = importlib.import_module("paragone.worker.start")
    start_guard = start.guard

    def guard(parent: int) -> None:
        turn.recv(1)
        start_guard(parent)
        turn.close()

    setattr(start, "guard", guard)  # noqa: B010 (a module)


def become_worker() -> NoReturn:
    importlib.import_module("paragone.worker.start").main()
    os._exit(0)


def preload() -> dict[str, str]:
    """Import what most workers import. Returns the environment variables that the imports have set."""
    before = dict(os.environ)
    for module in PRELOADED:
        with contextlib.suppress(ModuleNotFoundError):
            importlib.import_module(module)
    return {name: value for name, value in os.environ.items() if name not in before}


def share_memory() -> None:
    """Make forks of this process cheap.

    A garbage collection in a fork does not look at the objects of this process, and so does not copy their memory. Linux
    (6.1 and later) keeps the memory in pages of 2 MiB, and copies one entry of the page table for each, not 512.
    """
    gc.freeze()
    madvise, size = ctypes.CDLL(None).madvise, 1 << 21
    with open("/proc/self/maps") as maps:
        lines = [line.split() for line in maps]
    for addresses, rights, *_, file in lines:
        if rights == "rw-p" and file in ("0", "[heap]"):  # 0: an inode, so there is no file
            start, end = (int(address, 16) for address in addresses.split("-"))
            for page in range(-(-start // size) * size, end - size + 1, size):
                madvise(ctypes.c_void_p(page), ctypes.c_size_t(size), MADV_COLLAPSE)


def main() -> None:
    defaults = preload()
    for folder, engine in zip(sys.argv[3::2], sys.argv[4::2], strict=True):
        sys.path.insert(1, folder)
        importlib.import_module(engine)
        del sys.path[1]
    del sys.path[0]  # the folder of the plugin interface: a worker finds it by itself
    share_memory()
    serve(socket.socket(fileno=int(sys.argv[1])), defaults)
    become_worker()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
