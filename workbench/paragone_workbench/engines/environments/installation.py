"""Creates, checks and removes environments. Only one program at a time creates or removes an environment."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import AsyncGenerator, Iterator, Sequence
from pathlib import Path

from paragone import Backend, EngineError, InputError, ParagoneError
from paragone_workbench.engines import questions
from paragone_workbench.engines.definitions import suggest
from paragone_workbench.engines.environments.cuda_toolkit import use_toolkit
from paragone_workbench.engines.environments.installed import (
    MARKER,
    declared_environment,
    environment_folder,
    is_complete,
    list_installed,
    python_in,
    sibling_path,
    size_of,
)
from paragone_workbench.engines.environments.planning import EnvironmentPlan
from paragone_workbench.engines.environments.process import CommandFailed, InstallStep, Stage, run_command
from paragone_workbench.paths import private_folder


async def create(plan: EnvironmentPlan) -> AsyncGenerator[InstallStep, None]:
    """Create an environment, yielding the steps as they happen.

    An existing environment is replaced once the new environment is installed, and is kept if the installation fails.
    Closing the generator ends the running program and deletes the new files. Raises InputError
    if another process has locked the environment, and EngineError if the installation fails.
    """
    private_folder(plan.folder.parent)
    with _exclusive_lock(plan.backend.name) as lock:
        failed = f"The environment of {plan.backend.title} could not be created"
        try:
            with _replacing(plan.folder), _scratch(plan.folder) as scratch:
                for stage, command in _commands(plan):
                    running = run_command(stage, command, plan.folder, scratch=scratch, lock=lock)
                    async with contextlib.aclosing(running) as steps:
                        async for step in steps:
                            yield step
                if plan.build.toolkit:
                    use_toolkit(plan.folder, plan.build.toolkit)
                marker = {
                    "cuda": plan.build.cuda,
                    "requirements": plan.build.requirements,
                    "python": plan.python,
                }
                (plan.folder / MARKER).write_text(json.dumps(marker, indent=1) + "\n")
        except CommandFailed as error:
            raise EngineError(f"{failed}: {error}", hint=_source_hint(plan)) from error
        except OSError as error:
            raise EngineError(f"{failed}: {error.strerror or error}.") from error
        async with contextlib.aclosing(check(plan.backend)) as steps:
            async for step in steps:
                yield step


def _commands(plan: EnvironmentPlan) -> Sequence[tuple[Stage, list[str]]]:
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


def _source_hint(plan: EnvironmentPlan) -> str:
    if plan.find_links is not None:
        requirements = ", ".join(plan.build.requirements)
        return f"{plan.find_links} must contain the wheels of {requirements} and of their dependencies."
    return (
        "Check that this machine can reach the package index that pip or uv is configured to use. "
        "Without a network, install from a folder of wheels with --find-links."
    )


@contextlib.contextmanager
def _replacing(folder: Path) -> Iterator[None]:
    """Move the existing environment away, and restore it if the block raises."""
    old = sibling_path(folder, "old")
    if is_complete(folder):
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    else:  # `old` may exist: a program that was killed had moved the environment there
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
    """Yield a folder for temporary files on the environment's disk, whose free space was checked: /tmp may be too small."""
    scratch = sibling_path(folder, "tmp")
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(mode=0o700)
    try:
        yield scratch
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


async def check(backend: Backend) -> AsyncGenerator[InstallStep, None]:
    """Import the backend's library in its environment, yielding the steps as they happen.

    Raises InputError if there is no complete environment, and EngineError if a module cannot be imported.
    """
    environment, folder = declared_environment(backend), environment_folder(backend.name)
    if environment is None or not is_complete(folder):
        raise InputError(
            f"{backend.title} has no environment on this machine, or an incomplete one.",
            hint=f"Create it with: paragone env create {backend.name}.",
        )
    for module in environment.modules:
        command = [str(python_in(folder)), "-I", "-c", f"import {module}"]
        try:
            running = run_command("check", command, folder, f"import {module}")
            async with contextlib.aclosing(running) as steps:
                async for step in steps:
                    yield step
        except CommandFailed as error:
            # the backend knows the usual reasons and remedies
            probe = await questions.probe(backend, str(python_in(folder)))
            general = (
                str(error),
                f"Once this is fixed, check again with: paragone env check {backend.name}.",
            )
            reason, remedy = general if probe.usable else (probe.reason, probe.remedy)
            raise EngineError(
                f"The environment of {backend.title} is installed, but {module} cannot be imported in it: "
                f"{reason}",
                hint=remedy,
            ) from error


def remove(name: str) -> int:
    """Delete an environment and return the number of freed bytes.

    Raises InputError if the environment does not exist or is locked, and ParagoneError if it cannot be deleted.
    """
    installed = [environment.name for environment in list_installed({})]
    if name not in installed:
        hint = suggest(name, installed) if installed else "There are no environments on this machine."
        raise InputError(f"There is no environment {name!r}.", hint=hint)
    folder = environment_folder(name)
    with _exclusive_lock(name):
        size = 0 if folder.is_symlink() else size_of(folder)
        try:
            if folder.is_symlink():  # the target may belong to somebody else: delete only the link
                folder.unlink()
                return size
            with contextlib.suppress(FileNotFoundError):
                # delete the marker first, so that a partly deleted environment is not used
                (folder / MARKER).unlink()
            shutil.rmtree(folder)
            # a program that was killed while it created the environment has left these folders behind
            for suffix in ("old", "tmp"):
                shutil.rmtree(sibling_path(folder, suffix), ignore_errors=True)
        except OSError as error:
            raise ParagoneError(f"{folder} cannot be deleted: {error.strerror or error}.") from error
        return size


@contextlib.contextmanager
def _exclusive_lock(name: str) -> Iterator[int]:
    """Lock the environment of this name. Raises InputError if another process has locked the environment, and ParagoneError on other errors.

    Yields the lock's file descriptor. A child process that inherits the descriptor holds the lock even if this
    process ends.
    """
    try:
        descriptor = os.open(sibling_path(environment_folder(name), "lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ParagoneError(
            f"{environment_folder(name).parent} cannot be written to: {error.strerror or error}.",
            hint="Check the permissions and the free space there, or set XDG_DATA_HOME to another folder.",
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"The environment {name} is already being created or removed.",
                hint="Try again later.",
            ) from error
        yield descriptor
    finally:
        os.close(descriptor)
