"""A node's report about what a suite needs: paragone, the models' files, and memory. `report` runs on the node."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from paragone import Backend, MemoryEstimate, ParagoneError
from paragone.network.guard import GUARD
from paragone_workbench.engines import questions
from paragone_workbench.engines.definitions import (
    EngineDefinition,
    check_engine,
    declared_options,
    expand_home,
)
from paragone_workbench.engines.registry import Registry
from paragone_workbench.paths import accessible


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """What a suite needs to know about a node.

    Attributes:
        paragone: The version of paragone.
        files: The sizes of the requested files in bytes, by path; None for a file that the node cannot read.
        estimates: The memory that each engine would take on the node; None if the engine's backend cannot estimate memory.
        problems: Why engines cannot be opened on the node, by the engines' names.
    """

    paragone: str
    files: dict[str, int | None] = field(default_factory=dict)
    estimates: dict[str, MemoryEstimate | None] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def own_version() -> str:
    """Return the version of paragone that is installed here."""
    return version("paragone")


def report(engines: Sequence[EngineDefinition], files: Sequence[str], *, offline: bool) -> NodeReport:
    """Return the report of this machine: paragone, the files, and the memory that the engines would take. Blocks."""
    GUARD.is_offline = GUARD.is_offline or offline
    found = NodeReport(paragone=own_version(), files={path: size_of(path) for path in files})
    if None not in found.files.values():
        asyncio.run(_estimate(engines, found))
    return found


async def _estimate(engines: Sequence[EngineDefinition], found: NodeReport) -> None:
    registry = Registry()
    for engine in engines:
        try:
            backend = registry.get(engine.backend)
            check_engine(engine, backend)
            found.estimates[engine.name] = (
                await questions.estimate(backend, engine) if backend.capabilities.estimate else None
            )
        except ParagoneError as error:
            found.problems[engine.name] = error.sentence


def size_of(path: str) -> int | None:
    """Return the size of a file, or of all files of a folder, in bytes; None if the path cannot be read."""
    file = Path(path)
    try:
        if file.is_dir():
            return sum(part.stat().st_size for part in file.iterdir() if part.is_file())
        return file.stat().st_size
    except OSError:
        return None


def placed(engine: EngineDefinition) -> EngineDefinition:
    """Return the engine with the absolute path of its model, because a node has another current folder."""
    path = Path(expand_home(engine.model))
    return dataclasses.replace(engine, model=str(path.absolute())) if accessible(path) else engine


def files_of(engine: EngineDefinition, backend: Backend) -> list[str]:
    """Return the files that an engine needs on its node: its model, if that is a file, and files that options name."""
    paths = [engine.model] if Path(engine.model).is_absolute() else []
    for name, (_, info) in declared_options(backend).items():
        value = engine.options.get(name)
        if info.outside == "file" and isinstance(value, str) and value:
            paths.append(str(Path(expand_home(value)).absolute()))
    return paths
