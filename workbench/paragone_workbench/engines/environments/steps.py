"""A program at work on an environment, told as it goes."""

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

__all__ = ["Failed", "Stage", "Step", "steps"]

Stage: TypeAlias = Literal["create", "install", "check"]

_HEARTBEAT = 1.0
"""Seconds after which a step is told again, though its program says nothing: some downloads are long."""

_TIDYING = 5.0
"""Seconds that a program which is to end has for its temporary files."""

_TAIL = 8
"""Lines of a program that failed to put into the error."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """What is being done."""

    stage: Stage
    line: str
    """What the program that does it said last, as it came: control characters may be in it."""
    seconds: float
    """Since the stage began."""


class Failed(Exception):
    """A program ended with an error; the text is the last of what it said."""


async def steps(
    stage: Stage,
    command: Sequence[str],
    folder: Path,
    line: str = "",
    *,
    scratch: Path | None = None,
    lock: int | None = None,
) -> AsyncGenerator[Step, None]:
    """Run a program, yielding a step with each line that it prints, and one a second at least.

    `scratch` is for its temporary files; it keeps the `lock`, should it outlive us.
    """
    started = time.monotonic()
    line = line or " ".join(command)
    yield Step(stage=stage, line=line, seconds=0.0)
    starting = asyncio.ensure_future(
        asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=_environment(folder, scratch),
            cwd=folder.parent,  # not where the user is: Python runs the modules that lie there
            pass_fds=() if lock is None else (lock,),
            start_new_session=True,
            limit=1 << 20,
        )
    )
    try:
        # asyncio would kill the program alone if it is cancelled here, and wait for what that started.
        process = await asyncio.shield(starting)
    except OSError as error:
        raise Failed(f"{command[0]} cannot be started: {error.strerror or error}.") from error
    except asyncio.CancelledError:
        with contextlib.suppress(OSError):
            await _end(await starting)
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
                    raw = b"\n"  # a line longer than any that is for people
                if not raw:
                    break
                reading = asyncio.ensure_future(process.stdout.readline())
                if text := raw.decode(errors="replace").strip():
                    line = text
                    tail = [*tail[1 - _TAIL :], text]
            yield Step(stage=stage, line=line, seconds=time.monotonic() - started)
        if await process.wait():
            raise Failed(_reason(tail) or f"{command[0]} ended with exit code {process.returncode}.")
    finally:
        reading.cancel()
        if process.returncode is None:
            await _end(process)
        await _empty(process.stdout, reading)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End a program, having let it tidy up, and what it started."""
    _signal(process, signal.SIGINT)
    until = time.monotonic() + _TIDYING
    # Its own `wait` would be for the pipe, too, which what it started may hold.
    while process.returncode is None and time.monotonic() < until:  # noqa: ASYNC110
        await asyncio.sleep(0.02)
    _signal(process, signal.SIGKILL)
    await process.wait()


async def _empty(pipe: asyncio.StreamReader, reading: asyncio.Future[bytes]) -> None:
    """Read a pipe to its end, until which the event loop keeps the program that wrote there.

    What the program started may hold the pipe for longer, and is not waited for.
    """
    await asyncio.wait({reading})
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_HEARTBEAT):
            await pipe.read()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _reason(tail: Sequence[str]) -> str:
    """Return what a program that failed had to say: from its first error on, else its last line."""
    for at, line in enumerate(tail):
        if line.lower().startswith(("error", "×", "x ", "the virtual environment was not created")):
            return " ".join(tail[at:])
    return tail[-1] if tail else ""


def _environment(folder: Path, scratch: Path | None) -> Mapping[str, str]:
    """Return the variables of a process in an environment, as if that was activated."""
    variables = dict(os.environ, NO_COLOR="1", PYTHONUNBUFFERED="1", VIRTUAL_ENV=str(folder))
    variables["PATH"] = os.pathsep.join((str(folder / "bin"), variables.get("PATH", os.defpath)))
    for name in ("PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__"):
        variables.pop(name, None)
    if scratch is not None:
        variables["TMPDIR"] = str(scratch)
    return variables
