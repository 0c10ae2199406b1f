"""Making an environment, and checking one: step by step, told as it goes."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import shutil
import signal
import time
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from paragone import Backend, EngineError, InputError
from paragone_workbench.environments.found import MARKER, declared, folder_of, python_in
from paragone_workbench.environments.planning import Plan
from paragone_workbench.paths import private_folder

__all__ = ["Stage", "Step", "check", "create"]

Stage: TypeAlias = Literal["create", "install", "check"]

_HEARTBEAT = 1.0
"""Seconds after which a step is told again, though its program says nothing: some downloads are long."""

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


class _Failed(Exception):
    """A program ended with an error; the text is the last of what it said."""


async def create(plan: Plan) -> AsyncGenerator[Step, None]:
    """Make an environment, yielding what is done as it goes.

    One that is there already is deleted first. Closing the generator ends the programs at work; what
    they leave is not used. Raises InputError and EngineError.
    """
    private_folder(plan.folder.parent)
    with _alone(plan):
        (plan.folder / MARKER).unlink(missing_ok=True)
        shutil.rmtree(plan.folder, ignore_errors=True)
        python = str(python_in(plan.folder))
        source = [] if plan.find_links is None else ["--no-index", "--find-links", str(plan.find_links)]
        if plan.uv is not None:
            make = [plan.uv, "venv", "--no-project", "--python", plan.python, str(plan.folder)]
            install = [plan.uv, "pip", "install", "--python", python]
        else:
            make = [plan.python, "-m", "venv", str(plan.folder)]
            install = [python, "-m", "pip", "install", "--no-input", "--progress-bar=off"]
            install.append("--disable-pip-version-check")
        commands: tuple[tuple[Stage, list[str]], ...] = (
            ("create", make),
            ("install", [*install, *source, *plan.build.requirements]),
        )
        for stage, command in commands:
            try:
                async with contextlib.aclosing(_steps(stage, command, plan.folder)) as steps:
                    async for step in steps:
                        yield step
            except _Failed as error:
                raise EngineError(
                    f"The environment of {plan.title} could not be made: {error}",
                    hint="" if plan.find_links is None else f"All its wheels must be in {plan.find_links}.",
                ) from error
        made = {"cuda": plan.build.cuda, "requirements": plan.build.requirements, "python": plan.python}
        (plan.folder / MARKER).write_text(json.dumps(made, indent=1) + "\n")
        async with contextlib.aclosing(check(plan.backend)) as steps:
            async for step in steps:
                yield step


async def check(backend: Backend) -> AsyncGenerator[Step, None]:
    """Import in a backend's environment what it is for, yielding what is done as it goes.

    Raises InputError where there is no whole environment, EngineError where something in it cannot
    be imported.
    """
    environment, folder = declared(backend), folder_of(backend.name)
    if environment is None or not (folder / MARKER).exists():
        raise InputError(
            f"{backend.title} has no environment here, or not a whole one.",
            hint=f"Make it with: paragone env create {backend.name}.",
        )
    for module in environment.modules:
        command = [str(python_in(folder)), "-I", "-c", f"import {module}"]
        try:
            async with contextlib.aclosing(_steps("check", command, folder, f"import {module}")) as steps:
                async for step in steps:
                    yield step
        except _Failed as error:
            # The backend knows the usual reasons, and what to do about them.
            probe = await backend.probe(str(python_in(folder)))
            told = (str(error), f"When that is mended, try again with: paragone env check {backend.name}.")
            reason, remedy = told if probe.usable else (probe.reason, probe.remedy)
            raise EngineError(
                f"The environment of {backend.title} is installed, but {module} cannot be imported in it: "
                f"{reason}",
                hint=remedy,
            ) from error


async def _steps(
    stage: Stage, command: Sequence[str], folder: Path, line: str = ""
) -> AsyncGenerator[Step, None]:
    """Run a program, yielding a step with each line that it prints, and one a second at least."""
    started = time.monotonic()
    line = line or " ".join(command)
    yield Step(stage=stage, line=line, seconds=0.0)
    try:
        process = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env=_environment(folder),
            start_new_session=True,
            limit=1 << 20,
        )
    except OSError as error:
        raise _Failed(f"{command[0]} cannot be started: {error.strerror or error}.") from error
    assert process.stdout is not None
    tail: list[str] = []
    reading = asyncio.ensure_future(process.stdout.readline())
    try:
        while True:
            done, _ = await asyncio.wait({reading}, timeout=_HEARTBEAT)
            if done:
                raw = reading.result()
                if not raw:
                    break
                reading = asyncio.ensure_future(process.stdout.readline())
                if text := raw.decode(errors="replace").strip():
                    line = text
                    tail = [*tail[1 - _TAIL :], text]
            yield Step(stage=stage, line=line, seconds=time.monotonic() - started)
        if await process.wait():
            raise _Failed(_reason(tail) or f"{command[0]} ended with exit code {process.returncode}.")
    finally:
        reading.cancel()
        if process.returncode is None:
            # What it started ends with it.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()


def _reason(tail: Sequence[str]) -> str:
    """Return what a program that failed had to say: from its first error on, else its last line."""
    for at, line in enumerate(tail):
        if line.lower().startswith(("error", "×", "x ")):
            return " ".join(tail[at:])
    return tail[-1] if tail else ""


def _environment(folder: Path) -> Mapping[str, str]:
    """Return the variables of a process in an environment, as if that was activated."""
    variables = dict(os.environ, NO_COLOR="1", PYTHONUNBUFFERED="1", VIRTUAL_ENV=str(folder))
    variables["PATH"] = os.pathsep.join((str(folder / "bin"), variables.get("PATH", os.defpath)))
    for name in ("PYTHONPATH", "PYTHONHOME", "__PYVENV_LAUNCHER__"):
        variables.pop(name, None)
    return variables


@contextlib.contextmanager
def _alone(plan: Plan) -> Iterator[None]:
    """See to it that nobody else makes the same environment meanwhile. Raises InputError."""
    descriptor = os.open(plan.folder.with_name(f".{plan.backend.name}.lock"), os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise InputError(
                f"The environment of {plan.title} is being made already.",
                hint="Wait for that to end.",
            ) from error
        yield
    finally:
        os.close(descriptor)
