"""A worker's process: its start, its log, and the error for its end."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from paragone.crash_causes import CrashCause, find_cause
from paragone.errors import EngineCrashed, EngineError, InputError, ParagoneError

__all__ = ["crash", "folder_of", "open_log", "spawn", "tail", "with_cure"]

TOO_OLD = 78
"""The exit code of `bootstrap.py` in an interpreter that is too old."""

TAIL_LINES = 12
TAIL_BYTES = 8192
HEAD_BYTES = 65536


def folder_of(package: str) -> str:
    """Return the folder of a top-level package without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise EngineError(f"The package {package} is not installed with paragone.")
    return str(Path(next(iter(spec.submodule_search_locations))).resolve())


def open_log(path: str | None) -> IO[bytes]:
    """Open the log file for a worker's output, for appending. Only its owner can read it."""
    if path is None:
        return tempfile.TemporaryFile("a+b")
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    return open(descriptor, "a+b")  # noqa: PTH123 (the mode is set on the descriptor)


async def spawn(
    engine: str, packages: Sequence[str], python: str | None, log: IO[bytes]
) -> tuple[asyncio.subprocess.Process, socket.socket]:
    """Start a worker for `engine` (`module:Class`), and return the process and our end of its pipe.

    The worker can import the `packages` in addition to those of its interpreter. Raises InputError if
    the interpreter cannot be started.
    """
    interpreter = str(Path(python).expanduser()) if python else sys.executable
    folders = [f"{name}={folder_of(name)}" for name in packages]
    try:
        own_end, worker_end = socket.socketpair()
    except OSError as error:
        raise EngineError(f"The connection to a new process failed: {error.strerror}.") from error
    command = [
        interpreter,
        str(Path(__file__).with_name("child_process") / "bootstrap.py"),
        str(worker_end.fileno()),
        str(os.getpid()),
        engine,
        *folders,
    ]
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            pass_fds=[worker_end.fileno()],
            start_new_session=True,  # only the application handles the terminal's Ctrl+C
            env=_environment(foreign=python is not None),
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


def _environment(*, foreign: bool) -> dict[str, str]:
    environment = dict(os.environ, PYTHONUNBUFFERED="1", PYTHONFAULTHANDLER="1")
    if foreign:  # variables for our interpreter would break another one
        for name in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"):
            environment.pop(name, None)
    return environment


def tail(log: IO[bytes]) -> tuple[str, ...]:
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
            in_traceback = False  # this is the exception itself
        elif not in_traceback and line.strip():
            lines.append(line.rstrip())
    return tuple(lines[-TAIL_LINES:])


def crash(
    status: int, log: IO[bytes], path: str | None, causes: Sequence[CrashCause], *, killed: str = ""
) -> EngineCrashed:
    """Return the error for a worker that ended unexpectedly with `status`.

    `causes` are those that its backend knows. `killed` says why, if we killed it.
    """
    if status == TOO_OLD:
        sentence = "The engine's interpreter is older than Python 3.11."
        return EngineCrashed(sentence, hint="Set the engine's `python` to a newer one.", status=status)
    lines = tail(log)
    sentence, cure = (killed, "") if killed else _explain(status, lines, _head(log), causes)
    where = f"What it printed is in {path}." if path else ""
    return EngineCrashed(sentence, hint=f"{cure} {where}".strip(), status=status, log_tail=lines)


def _explain(status: int, lines: Sequence[str], build: str, causes: Sequence[CrashCause]) -> tuple[str, str]:
    """Return the sentence for an end with this status, and the cure, if the cause is known."""
    number = max(0, -status)
    known = find_cause(causes, says="\n".join(lines), number=number, build=build)
    if known is not None:
        why = f": {known.cause}"
    else:
        why = f": {signal.strsignal(number) or 'unknown reason'}" if number else ""
    how = f"was ended by {_name(number)}" if number else f"ended unexpectedly with exit code {status}"
    return f"The engine's process {how}{why}.", known.cure if known else ""


def with_cure(error: ParagoneError, causes: Sequence[CrashCause]) -> ParagoneError:
    """Return an engine's error, with the cure as its hint if it has none and its cause is known."""
    unexplained = isinstance(error, EngineError) and not error.hint
    if unexplained and (known := find_cause(causes, says=error.sentence)):
        error.hint = known.cure
    return error


def _head(log: IO[bytes]) -> str:
    log.seek(0)
    return log.read(HEAD_BYTES).decode(errors="replace")


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
