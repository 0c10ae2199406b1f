"""Runs a program that creates or checks an environment, and yields its output as steps."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Stage: TypeAlias = Literal["create", "install", "check"]

_HEARTBEAT = 1.0
"""Seconds after which the last step is yielded again if the program prints nothing, such as during a long download."""

_CLEANUP_TIMEOUT = 5.0
"""Seconds that an interrupted program has to delete its temporary files."""

_TAIL = 8
"""Number of last output lines of a failed program to search for the reason."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InstallStep:
    """The progress of a stage."""

    stage: Stage
    line: str
    """The program's last output line, unfiltered: it may contain control characters."""
    seconds: float
    """Seconds since the stage began."""


class CommandFailed(Exception):
    """A program failed. The message is the reason that the program printed."""


async def run_command(
    stage: Stage,
    command: Sequence[str],
    folder: Path,
    line: str = "",
    *,
    scratch: Path | None = None,
    lock: int | None = None,
) -> AsyncGenerator[InstallStep, None]:
    """Run a program, yielding a step for each line that it prints, and at least one step a second.

    `scratch` is the folder for the program's temporary files. The program inherits the descriptor `lock`, and so
    holds the lock even if this process ends. Raises CommandFailed.
    """
    started = time.monotonic()
    line = line or " ".join(command)
    yield InstallStep(stage=stage, line=line, seconds=0.0)
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=_environment(folder, scratch),
            cwd=folder.parent,  # not the current folder, from which Python would import modules
            pass_fds=() if lock is None else (lock,),
            start_new_session=True,
            limit=1 << 20,
        )
    )
    try:
        # If this task were cancelled, asyncio would kill only the program, and wait for the processes that the program started.
        process = await asyncio.shield(starting)
    except OSError as error:
        raise CommandFailed(f"{command[0]} cannot be started: {error.strerror or error}.") from error
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            process = await starting
            await _end(process)
            await _drain(process)
        raise
    assert process.stdout is not None
    tail: list[str] = []
    reading = asyncio.ensure_future(process.stdout.readline())
    try:
        while True:
            done, _ = await asyncio.wait({reading}, timeout=_HEARTBEAT)
            if done:
                try:
                    raw = reading.result()
                except ValueError:
                    raw = b"\n"  # the line is longer than the limit: ignore it
                if not raw:
                    break
                reading = asyncio.ensure_future(process.stdout.readline())
                if text := raw.decode(errors="replace").strip():
                    line = text
                    tail = [*tail[1 - _TAIL :], text]
            yield InstallStep(stage=stage, line=line, seconds=time.monotonic() - started)
        if await process.wait():
            raise CommandFailed(_reason(tail) or f"{command[0]} ended with exit code {process.returncode}.")
    finally:
        reading.cancel()
        if process.returncode is None:
            await _end(process)
        await asyncio.wait({reading})  # only one task may read at a time
        await _drain(process)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a program and its child processes, after giving the program time to clean up."""
    _signal(process, signal.SIGINT)
    deadline = time.monotonic() + _CLEANUP_TIMEOUT
    # `process.wait()` would also wait for the pipe, which a child process may keep open.
    while process.returncode is None and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    _signal(process, signal.SIGKILL)
    await process.wait()


async def _drain(process: asyncio.subprocess.Process) -> None:
    """Read a program's output to its end, since the event loop keeps the process object until then.

    If a child process keeps the pipe open, the function returns after `_HEARTBEAT` seconds.
    """
    assert process.stdout is not None
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_HEARTBEAT):
            await process.stdout.read()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _reason(tail: Sequence[str]) -> str:
    """Return the reason that a failed program printed: the lines from its first error on, else its last line."""
    for index, line in enumerate(tail):
        if line.lower().startswith(("error", "×", "x ", "the virtual environment was not created")):
            return " ".join(tail[index:])
    return tail[-1] if tail else ""


def _environment(folder: Path, scratch: Path | None) -> Mapping[str, str]:
    """Return the environment variables of a process in an activated virtual environment."""
    variables = dict(os.environ, NO_COLOR="1", PYTHONUNBUFFERED="1", VIRTUAL_ENV=str(folder))
    variables["PATH"] = os.pathsep.join((str(folder / "bin"), variables.get("PATH", os.defpath)))
    for name in ("PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__"):
        variables.pop(name, None)
    if scratch is not None:
        variables["TMPDIR"] = str(scratch)
    return variables
