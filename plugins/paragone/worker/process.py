"""The processes of engines: a worker, or a foreign program such as a server; their start, their log, and the error for their
end."""

import asyncio
import contextlib
import importlib.util
import os
import re
import signal
import socket
import sys
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Self
from weakref import WeakSet

from paragone.crash_causes import CrashCause, find_cause
from paragone.errors import EngineCrashed, EngineError, InputError, ParagoneError
from paragone.network import GUARD, Confinement
from paragone.threads import in_daemon_thread
from paragone.worker.confinement import LAYER, hide_process

_ADDED = "PARAGONE_PASS_ENV"
"""The variable in which users list more variables to inherit, separated by commas.

`NAME_*` means all variables that begin with `NAME_`.
"""

_SYSTEM = (
    "PATH HOME USER LOGNAME SHELL LANG LANGUAGE LC_* TZ TERM NO_COLOR TMPDIR TMP TEMP XDG_* "
    "LD_LIBRARY_PATH LD_PRELOAD DYLD_* MALLOC_* GLIBC_TUNABLES LOCPATH NIX_* PYTHON* VIRTUAL_ENV PARAGONE_*"
)
_COMPUTING = (
    "OMP_* GOMP_* KMP_* MKL_* OPENBLAS_* GOTO_* BLIS_* VECLIB_* NUMEXPR_* NUMBA_* "
    "CUDA_* CUDART_* NVIDIA_* NCCL_* CUBLAS_* HIP_* ROCM_* ROCR_* HSA_* AMD_* GPU_* RADV_* "
    "VK_* MESA_* SYCL_* ONEAPI_* ZE_* LEVEL_ZERO_* OCL_* METAL_* MTL_* ASCEND_* MUSA_*"
)
_LIBRARIES = (
    "GGML_* LLAMA_CACHE LLAMA_LOG_* LLAMA_CPP_* XLLAMACPP_* MTMD_* TORCH_* PYTORCH_* TRITON_* EXLLAMA* EXL2_* EXL3_* "
    "HF_HOME HF_HUB_CACHE HUGGINGFACE_HUB_CACHE TRANSFORMERS_CACHE TOKENIZERS_* SAFETENSORS_*"
)
_COMPILING = "CC CXX CPP CFLAGS CXXFLAGS CPPFLAGS LDFLAGS LIBRARY_PATH CPATH *_INCLUDE_PATH MAX_JOBS NINJA_STATUS NVCC_*"

_SECRET = re.compile(r"(?:^|_)(?:KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)(?:_|$)", re.IGNORECASE)
"""Names of variables that are excluded even if a wildcard of this list matches."""


def passed_variables() -> dict[str, str]:
    """Return the variables of this process that an engine's process inherits."""
    own = " ".join((_SYSTEM, _COMPUTING, _LIBRARIES, _COMPILING))
    listed = _pattern(own.split())
    added = _pattern([name for name in re.split(r"[,\s]+", os.environ.get(_ADDED, "")) if name])
    return {
        name: value
        for name, value in os.environ.items()
        if added.fullmatch(name) or (listed.fullmatch(name) and not _SECRET.search(name))
    }


def _pattern(names: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(re.escape(name).replace(r"\*", ".*") for name in names) or r"(?!)")


GRACE = 2.0
"""Seconds that a process has to stop its job or to end before it is killed."""

TOO_OLD = 78
"""The exit code of `start.py` in an interpreter that is too old."""

TAIL_LINES = 12
TAIL_BYTES = 8192
HEAD_BYTES = 65536

LOG_LIMIT = 64 * 2**20
"""Largest size in bytes of a log: beyond it, all but the first and the newest lines are dropped."""


def _folder_of(package: str) -> str:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise EngineError(f"The package {package} is not installed with paragone.")
    return str(Path(next(iter(spec.submodule_search_locations))).resolve())


def _open_log(path: str | None) -> IO[bytes]:
    """Open the log file for a process's output, for appending. Only the user can read the file."""
    if path is None:
        return tempfile.TemporaryFile("a+b", buffering=0)
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    return open(descriptor, "a+b", buffering=0)  # noqa: PTH123 (the mode is set on the descriptor)


def _write_log(output: int, log: IO[bytes]) -> None:
    """Write the output of a process to its log, until the process and its child processes have ended."""
    with open(output, "rb", buffering=0) as pipe:
        while data := pipe.read(1 << 16):
            with contextlib.suppress(OSError):  # a full disk must not stop the process
                if os.fstat(log.fileno()).st_size + len(data) > LOG_LIMIT:
                    log.truncate(HEAD_BYTES)
                log.write(data)


@dataclass(eq=False)
class EngineProcess:
    """A worker, or another program as an engine. It leads a group, which ends with it."""

    _process: asyncio.subprocess.Process
    _log: IO[bytes]
    _log_path: str | None
    _causes: Sequence[CrashCause]
    _logging: Future[None]
    _closing: bool = False
    _crash: EngineCrashed | None = None

    @classmethod
    async def start(
        cls,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        log: str | None = None,
        causes: Sequence[CrashCause] = (),
        network: bool = True,
    ) -> Self:
        """Start a program that is not a worker. Raises EngineError.

        Without `network`, or while paragone is offline, the program can open only Unix sockets, if the system supports
        this restriction.
        """
        try:
            command = _program_start(command, network=network)
            return await cls.launch(command, environment, log=log, causes=causes)
        except OSError as error:
            raise EngineError(f"A new process cannot be started: {error.strerror}.") from error

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

        `causes` are known causes of crashes, besides `COMMON_CAUSES`. The process inherits the descriptors
        `connection`. Raises OSError if the program cannot be started, EngineError if the log cannot be opened.
        """
        try:
            log_file = _open_log(log)
        except OSError as error:
            where = f"in {log or tempfile.gettempdir()}"
            raise EngineError(f"The engine's log cannot be opened {where}: {error.strerror}.") from error
        hide_process()
        read, write = os.pipe()
        try:
            with os.fdopen(write, "wb") as output:
                process = await asyncio.create_subprocess_exec(
                    *command,
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    pass_fds=connection,
                    start_new_session=True,  # only the application handles the terminal's Ctrl+C
                    env=environment,
                )
        except BaseException:
            os.close(read)
            log_file.close()
            raise
        logging = in_daemon_thread(lambda: _write_log(read, log_file))
        launched = cls(process, log_file, log, causes, logging)
        _launched.add(launched)
        return launched

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def has_ended(self) -> bool:
        return self._process.returncode is not None

    def cpu_ticks(self) -> int | None:
        """Return the CPU time of the process in ticks of the kernel; None on systems without `/proc`."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return None
        return int(fields[11]) + int(fields[12])  # utime and stime, see proc_pid_stat(5)

    async def ended(self, seconds: float | None = None) -> bool:
        """Wait until the process has ended and its output is in the log, at most `seconds`. Return whether it has ended."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._process.wait()
        if self.has_ended:
            await asyncio.wait([asyncio.wrap_future(self._logging)], timeout=_LEFT)
        return self.has_ended

    async def end(self) -> None:
        try:
            if not await self.ended(GRACE):
                await self.kill()
        except asyncio.CancelledError:
            self.send_signal(signal.SIGKILL)  # the caller does not wait any longer
            raise
        finally:
            self._logging.add_done_callback(lambda _: self._log.close())

    async def close(self) -> None:
        """End a program, which frees its memory. Never raises; may be called more than once."""
        self._closing = True
        self.send_signal(signal.SIGTERM)
        await self.end()

    async def kill(self) -> None:
        self.send_signal(signal.SIGKILL)
        await self.ended()

    def send_signal(self, number: signal.Signals) -> None:
        """Send a signal to the process and its child processes."""
        if not self.has_ended:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def with_cure(self, error: ParagoneError) -> ParagoneError:
        """Return the engine's error. If the error has no hint and its cause is known, the cure becomes the hint."""
        unexplained = isinstance(error, EngineError) and not error.hint
        if unexplained and (known := find_cause(self._causes, output=error.message)):
            error.hint = known.cure
        return error

    def output(self) -> str:
        """Return the log; empty once it is closed."""
        return "" if self._log.closed else self._logged(0, LOG_LIMIT)

    def error(self) -> EngineError:
        """Return the error for the end of a program."""
        if self._closing:
            return EngineError("The engine was closed.")
        self._crash = self._crash or self.crash()
        return self._crash

    def crash(self, killed: str = "") -> EngineCrashed:
        """Return the error for an unexpected end.

        `killed` is the reason why the application killed the process; empty if the process ended by itself.
        """
        status = self._process.returncode or 0
        if status == TOO_OLD:
            message = "The engine's interpreter is older than Python 3.11."
            return EngineCrashed(message, hint="Set the engine's `python` to a newer one.", status=status)
        size = os.fstat(self._log.fileno()).st_size
        lines = _tail(self._logged(max(0, size - TAIL_BYTES), TAIL_BYTES), whole=size <= TAIL_BYTES)
        message, cure = (killed, "") if killed else self._explained(status, lines)
        where = f"The engine's output is in {self._log_path}." if self._log_path else ""
        return EngineCrashed(message, hint=f"{cure} {where}".strip(), status=status, log_tail=lines)

    def _logged(self, start: int, size: int) -> str:
        return os.pread(self._log.fileno(), size, start).decode(errors="replace")

    def _explained(self, status: int, lines: Sequence[str]) -> tuple[str, str]:
        """Return the message for a process that ended with this status, and the cure, if the cause is known."""
        number = max(0, -status)
        output = "\n".join(lines)
        known = find_cause(self._causes, output=output, number=number, build=self._logged(0, HEAD_BYTES))
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
    python: str | None,
    log: str | None,
    causes: Sequence[CrashCause],
    *,
    network: bool,
) -> tuple[EngineProcess, socket.socket]:
    """Start a worker for `engine` (`module:Class`). Return the process and the application's end of the pipe.

    The worker can import this package and the engine's in addition to the packages of its interpreter. Without
    `network`, the worker can open only Unix sockets, if the system supports this restriction. Raises InputError if the
    interpreter cannot be started.
    """
    interpreter = str(Path(python).expanduser()) if python else sys.executable
    folder = _folder_of(engine.partition(":")[0].partition(".")[0])
    environment = passed_variables() | {"PYTHONUNBUFFERED": "1", "PYTHONFAULTHANDLER": "1"}
    if python is not None:  # variables for this program's interpreter would break another interpreter
        for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"):
            environment.pop(name, None)
    try:
        own_end, worker_end = socket.socketpair()
    except OSError as error:
        raise EngineError(f"The connection to a new process failed: {error.strerror}.") from error
    with worker_end:
        descriptor = worker_end.fileno()
        command = [interpreter, _START, *_start_arguments(str(descriptor), network=network), engine, folder]
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
    return process, own_end


_START = str(Path(__file__).with_name("start.py"))


def _start_arguments(pipe: str, *, network: bool) -> list[str]:
    """Return the first arguments of `start.py`, which close the network to a process unless it may use the network;
    offline, always."""
    return [pipe, str(os.getpid()), "open" if network and not GUARD.is_offline else "closed"]


def _program_start(command: Sequence[str], *, network: bool) -> list[str]:
    """Return the command that starts a program, with or without the network, and makes the program end with this process."""
    # -S: the script imports only the standard library
    return [sys.executable, "-S", _START, *_start_arguments("-", network=network), *command]


def _tail(text: str, *, whole: bool) -> tuple[str, ...]:
    """Return the last lines of a log, without tracebacks. The text begins within a line unless it is the `whole` log."""
    text = text.partition("Fatal Python error:")[0]
    lines: list[str] = []
    in_traceback = False
    for line in text.splitlines()[0 if whole else 1 :]:
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


_LEFT = 0.2
"""Seconds to read the output of a program that has ended: a child process of the program may keep the pipe open."""


async def output_of(
    command: Sequence[str],
    *,
    seconds: float | None,
    longest: int,
    environment: Mapping[str, str] | None = None,
    errors: int = asyncio.subprocess.DEVNULL,
) -> tuple[int, str]:
    """Run a program of the user, and return its exit code and its output. `errors` is the place for standard error.

    The program may use the network unless paragone is offline.
    In a session of its own, the program cannot write to the terminal. It is killed with its child processes if it
    writes `longest` bytes or runs for `seconds`. Raises OSError if it cannot be started, and TimeoutError.
    """
    if GUARD.is_offline:
        command = _program_start(command, network=False)
    loop, reader, output = asyncio.get_running_loop(), asyncio.StreamReader(), bytearray()
    read, write = os.pipe()  # asyncio's own pipe would wait for children that the program leaves running
    with os.fdopen(read, "rb") as pipe, os.fdopen(write, "wb") as program_end:
        transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
        with contextlib.closing(transport):
            process = await asyncio.create_subprocess_exec(
                *command,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=program_end,
                stderr=errors,
                start_new_session=True,
                env=environment,
            )
            program_end.close()

            async def drain() -> None:
                while len(output) < longest and (more := await reader.read(longest - len(output))):
                    output.extend(more)

            draining, ending = asyncio.create_task(drain()), asyncio.create_task(process.wait())
            try:
                async with asyncio.timeout(seconds):
                    await asyncio.wait([draining, ending], return_when=asyncio.FIRST_COMPLETED)
                    if len(output) < longest:
                        await ending
                        await asyncio.wait([draining], timeout=_LEFT)
            finally:
                draining.cancel()
                if process.returncode is None:
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(process.pid, signal.SIGKILL)
                await ending
    return ending.result(), output.decode(errors="replace")


_PATIENCE = 30.0
"""Seconds that the trial may take on a busy machine."""


async def try_confinement() -> Confinement:
    """Start a process that closes the network to itself as workers do, and then tries to open sockets."""
    trial = str(Path(__file__).with_name("confinement.py"))
    try:
        status, output = await output_of(
            [sys.executable, "-IS", trial],
            seconds=_PATIENCE,
            longest=TAIL_BYTES,
            errors=asyncio.subprocess.STDOUT,
        )
    except OSError as error:  # this includes TimeoutError
        timed_out = isinstance(error, TimeoutError)
        reason = (
            f"gave no answer within {_PATIENCE:g} seconds"
            if timed_out
            else f"could not be started: {error.strerror}"
        )
        return Confinement(layer=LAYER, holds=False, reason=f"The trial {reason}.")
    last = (output.splitlines() or [f"exit code {status}"])[-1].strip()
    if status != 0:
        return Confinement(layer=LAYER, holds=False, reason=f"The system refuses it: {last}.")
    reason = f"The trial could open these sockets: {last}." if output.strip() else ""
    return Confinement(layer=LAYER, holds=not reason, reason=reason)
