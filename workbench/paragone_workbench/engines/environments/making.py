"""Making an environment, and checking one: step by step, told as it goes."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path

from paragone import Backend, EngineError, InputError
from paragone_workbench.engines.environments.found import (
    MARKER,
    beside,
    declared,
    folder_of,
    is_whole,
    python_in,
)
from paragone_workbench.engines.environments.lock import alone
from paragone_workbench.engines.environments.planning import Plan
from paragone_workbench.engines.environments.steps import Failed, Stage, Step, steps
from paragone_workbench.engines.environments.toolkit import settle
from paragone_workbench.paths import private_folder

__all__ = ["check", "create"]


async def create(plan: Plan) -> AsyncGenerator[Step, None]:
    """Make an environment, yielding what is done as it goes.

    One that is there already is replaced once the new one is installed, and else stays as it was.
    Closing the generator ends the programs at work, and what they made is deleted. Raises InputError
    and EngineError.
    """
    private_folder(plan.folder.parent)
    with alone(plan.backend.name) as lock:
        failed = f"The environment of {plan.title} could not be made"
        try:
            with _replacing(plan.folder), _scratch(plan.folder) as scratch:
                for stage, command in _commands(plan):
                    at_work = steps(stage, command, plan.folder, scratch=scratch, lock=lock)
                    async with contextlib.aclosing(at_work) as told:
                        async for step in told:
                            yield step
                if plan.build.toolkit:
                    settle(plan.folder, plan.build.toolkit)
                made = {
                    "cuda": plan.build.cuda,
                    "requirements": plan.build.requirements,
                    "python": plan.python,
                }
                (plan.folder / MARKER).write_text(json.dumps(made, indent=1) + "\n")
        except Failed as error:
            raise EngineError(f"{failed}: {error}", hint=_where_from(plan)) from error
        except OSError as error:
            raise EngineError(f"{failed}: {error.strerror or error}.") from error
        async with contextlib.aclosing(check(plan.backend)) as told:
            async for step in told:
                yield step


def _commands(plan: Plan) -> Sequence[tuple[Stage, list[str]]]:
    python = str(python_in(plan.folder))
    source = [] if plan.find_links is None else ["--no-index", "--find-links", str(plan.find_links)]
    if plan.uv is not None:
        make = [plan.uv, "venv", "--no-project", "--python", plan.python, str(plan.folder)]
        install = [plan.uv, "pip", "install", "--python", python]
    else:
        make = [plan.python, "-m", "venv", str(plan.folder)]
        install = [python, "-m", "pip", "install", "--no-input", "--progress-bar=off"]
        install.append("--disable-pip-version-check")
    return ("create", make), ("install", [*install, *source, *plan.build.requirements])


def _where_from(plan: Plan) -> str:
    if plan.find_links is not None:
        return f"All its wheels must be in {plan.find_links}: {', '.join(plan.build.requirements)}, and what they need."
    return (
        "Can this machine reach the package index that pip or uv is set to use? "
        "Without a network, --find-links takes a folder of wheels."
    )


@contextlib.contextmanager
def _replacing(folder: Path) -> Iterator[None]:
    """Make room for a new environment; what was there comes back unless the block comes to its end."""
    old = beside(folder, "old")
    if is_whole(folder):
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    else:  # an old one that is there all the same was put aside by a program that was killed
        shutil.rmtree(folder, ignore_errors=True)
    try:
        yield
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        if old.exists():
            old.rename(folder)
        raise
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Give a folder for what is unpacked meanwhile, on the disk whose space was looked at; /tmp is small at times."""
    scratch = beside(folder, "tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


async def check(backend: Backend) -> AsyncGenerator[Step, None]:
    """Import in a backend's environment what it is for, yielding what is done as it goes.

    Raises InputError where there is no whole environment, EngineError where something in it cannot
    be imported.
    """
    environment, folder = declared(backend), folder_of(backend.name)
    if environment is None or not is_whole(folder):
        raise InputError(
            f"{backend.title} has no environment here, or not a whole one.",
            hint=f"Make it with: paragone env create {backend.name}.",
        )
    for module in environment.modules:
        command = [str(python_in(folder)), "-I", "-c", f"import {module}"]
        try:
            at_work = steps("check", command, folder, f"import {module}")
            async with contextlib.aclosing(at_work) as told:
                async for step in told:
                    yield step
        except Failed as error:
            # The backend knows the usual reasons, and what to do about them.
            probe = await backend.probe(str(python_in(folder)))
            said = (str(error), f"When that is mended, try again with: paragone env check {backend.name}.")
            reason, remedy = said if probe.usable else (probe.reason, probe.remedy)
            raise EngineError(
                f"The environment of {backend.title} is installed, but {module} cannot be imported in it: "
                f"{reason}",
                hint=remedy,
            ) from error
