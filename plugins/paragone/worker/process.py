"""A worker's process: its start, its log, and the error for its end."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self
from weakref import WeakSet

from paragone.crash_causes import CrashCause, find_cause
from paragone.errors import EngineCrashed, EngineError, InputError, ParagoneError
from paragone.network.guard import GUARD
from paragone.worker.variables import passed_variables

GRACE = 2.0
"""Seconds that a process has to stop its job or to end before it is killed."""

TOO_OLD = 78
"""The exit code of `bootstrap.py` in an interpreter that is too old."""

TAIL_LINES = 12
TAIL_BYTES = 8192
HEAD_BYTES = 65536

LOG_LIMIT = 64 * 2**20
"""Size in bytes above which a log is shortened."""
LOG_CHECK = 2.0
"""Seconds between two checks of the size of a log."""


def _folder_of(package: str) -> str:
    """Return the folder of a top-level package without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise EngineError(f"The package {package} is not installed with paragone.")
    return str(Path(next(iter(spec.submodule_search_locations))).resolve())


def _open_log(path: str | None) -> IO[bytes]:
    """Open the log file for a worker's output, for appending. Only the user can read the file."""
    if path is None:
        return tempfile.TemporaryFile("a+b")
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    return open(descriptor, "a+b")  # noqa: PTH123 (the mode is set on the descriptor)


@dataclass(eq=False)
class EngineProcess:
    """The process of an engine. Its output goes to a log."""

    _process: asyncio.subprocess.Process
    _log: IO[bytes]
    _log_path: str | None
    _causes: Sequence[CrashCause]
    _bounding: asyncio.Task[None] | None = None

    @classmethod
    async def launch(
        cls,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        log: str | None = None,
        causes: Sequence[CrashCause] = (),
        connection: Sequence[int] = (),
    ) -> Self:
        """Start a process, whose output goes to the file `log`, or to a temporary file.

        `causes` are known causes of crashes, besides `COMMON_CAUSES`. The process inherits the descriptors `connection`.
        Raises OSError if the program cannot be started, EngineError if the log cannot be opened.
        """
        try:
            log_file = _open_log(log)
        except OSError as error:
            where = f"in {log or tempfile.gettempdir()}"
            raise EngineError(f"The engine's log cannot be opened {where}: {error.strerror}.") from error
        try:
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log_file,
                stderr=log_file,
                pass_fds=connection,
                start_new_session=True,  # only the application handles the terminal's Ctrl+C
                env=environment,
            )
        except BaseException:
            log_file.close()
            raise
        launched = cls(process, log_file, log, causes)
        _launched.add(launched)
        launched._bounding = asyncio.create_task(launched._bound_log())
        return launched

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended."""
        return self._process.returncode is not None

    def cpu_ticks(self) -> int | None:
        """Return the CPU time of the process in ticks of the kernel; None on systems without `/proc`."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return int(fields[11]) + int(fields[12])  # utime and stime, see proc_pid_stat(5)

    async def ended(self, seconds: float | None = None) -> bool:
        """Wait until the process has ended, at most `seconds`. Return whether the process has ended."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._process.wait(), seconds)
        return self.has_ended

    async def end(self) -> None:
        """Wait until the process has ended, kill the process if that takes too long, and close its log."""
        try:
            if not await self.ended(GRACE):
                await self.kill()
        except asyncio.CancelledError:
            self.send_signal(signal.SIGKILL)  # the caller does not wait any longer
            raise
        finally:
            if self._bounding is not None:
                self._bounding.cancel()
            self._log.close()

    async def _bound_log(self) -> None:
        """Shorten the log to its first lines whenever the log exceeds `LOG_LIMIT`."""
        while not await self.ended(LOG_CHECK):
            if os.fstat(self._log.fileno()).st_size > LOG_LIMIT:
                self._log.truncate(HEAD_BYTES)  # the process appends to the rest of the log

    async def kill(self) -> None:
        """Kill the process."""
        self.send_signal(signal.SIGKILL)
        await self.ended()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process, unless the process has ended."""
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def with_cure(self, error: ParagoneError) -> ParagoneError:
        """Return the engine's error. If the error has no hint and its cause is known, the cure becomes the hint."""
        unexplained = isinstance(error, EngineError) and not error.hint
        if unexplained and (known := find_cause(self._causes, says=error.sentence)):
            error.hint = known.cure
        return error

    def crash(self, killed: str = "") -> EngineCrashed:
        """Return the error for an unexpected end.

        `killed` says why the application killed the process; empty if the process ended by itself.
        """
        status = self._process.returncode or 0
        if status == TOO_OLD:
            sentence = "The engine's interpreter is older than Python 3.11."
            return EngineCrashed(sentence, hint="Set the engine's `python` to a newer one.", status=status)
        lines = _tail(self._log)
        sentence, cure = (killed, "") if killed else self._explained(status, lines)
        where = f"The engine's output is in {self._log_path}." if self._log_path else ""
        return EngineCrashed(sentence, hint=f"{cure} {where}".strip(), status=status, log_tail=lines)

    def _explained(self, status: int, lines: Sequence[str]) -> tuple[str, str]:
        """Return the sentence for a process that ended with this status, and the cure, if the cause is known."""
        self._log.seek(0)
        build = self._log.read(HEAD_BYTES).decode(errors="replace")
        number = max(0, -status)
        known = find_cause(self._causes, says="\n".join(lines), number=number, build=build)
        if known is not None:
            why = f": {known.cause}"
        else:
            why = f": {signal.strsignal(number) or 'unknown reason'}" if number else ""
        how = f"was ended by {_name(number)}" if number else f"ended unexpectedly with exit code {status}"
        return f"The engine's process {how}{why}.", known.cure if known else ""


_launched: WeakSet[EngineProcess] = WeakSet()


def kill_processes() -> None:
    """Kill the running processes of all engines, because the program ends."""
    for process in [*_launched]:
        process.send_signal(signal.SIGKILL)


async def start_worker(
    engine: str,
    packages: Sequence[str],
    python: str | None,
    log: str | None,
    causes: Sequence[CrashCause],
    *,
    network: bool,
) -> tuple[EngineProcess, socket.socket]:
    """Start a worker for `engine` (`module:Class`). Return the process and the application's end of the pipe.

    The worker can import `packages` in addition to the packages of its interpreter. Without `network`, the worker can open
    only Unix sockets, if the system supports this restriction. Raises InputError if the interpreter cannot be started.
    """
    interpreter = str(Path(python).expanduser()) if python else sys.executable
    folders = [f"{name}={_folder_of(name)}" for name in packages]
    try:
        own_end, worker_end = socket.socketpair()
    except OSError as error:
        raise EngineError(f"The connection to a new process failed: {error.strerror}.") from error
    script, descriptor = Path(__file__).with_name("child_process") / "bootstrap.py", worker_end.fileno()
    command = [interpreter, str(script), str(descriptor), str(os.getpid())]
    command += [network_word(network), engine, *folders]
    environment = _environment(foreign=python is not None)
    try:
        process = await EngineProcess.launch(
            command, environment, log=log, causes=causes, connection=[descriptor]
        )
    except OSError as error:
        own_end.close()
        raise InputError(
            f"The interpreter {interpreter} cannot be started: {error.strerror}.",
            hint="Check the engine's `python` setting.",
        ) from error
    except BaseException:
        own_end.close()
        raise
    finally:
        worker_end.close()
    return process, own_end


def network_word(network: bool) -> str:
    """Return the argument `open` or `closed`, which opens or closes the network to a process; offline always `closed`."""
    return "open" if network and not GUARD.is_offline else "closed"


def _environment(*, foreign: bool) -> dict[str, str]:
    environment = passed_variables() | {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
    if foreign:  # variables for this program's interpreter would break another interpreter
        for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"):
            environment.pop(name, None)
    return environment


def _tail(log: IO[bytes]) -> tuple[str, ...]:
    """Return the last lines of a log, without Python tracebacks."""
    end = log.seek(0, os.SEEK_END)
    log.seek(max(0, end - TAIL_BYTES))
    text = log.read().decode(errors="replace")
    text = text.partition("Fatal Python error:")[0]
    lines: list[str] = []
    in_traceback = False
    for line in text.splitlines()[1 if end > TAIL_BYTES else 0 :]:
        if line.startswith("Traceback (most recent call last)"):
            in_traceback = True
        elif in_traceback and line and not line[0].isspace():
            in_traceback = False  # this line is the exception itself
        elif not in_traceback and line.strip():
            lines.append(line.rstrip())
    return tuple(lines[-TAIL_LINES:])


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
