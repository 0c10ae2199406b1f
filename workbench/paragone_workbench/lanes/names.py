"""Make unique names for lanes from the names of their engines, the same on the screen, in reports and in exports."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from typing import TYPE_CHECKING

from paragone_workbench.engines.definitions import BackendLookup, EngineDefinition, numbered, server_of

if TYPE_CHECKING:
    from paragone_workbench.engines.registry import Registry
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.store.records import LaneRecord


def unique_name(definition: EngineDefinition, lanes: Iterable[Lane], registry: Registry) -> str:
    """Return a name for a new lane with this engine that differs from the names of `lanes`.

    If the engine's name is in use, the backend is added, or the server if the backends are the same, or else a number.
    """
    named = [(lane.name, lane.engine.definition) for lane in lanes]
    return _unique(definition, named, registry.find)


def names_of(lanes: Sequence[LaneRecord], find: BackendLookup) -> Mapping[str, str]:
    """Return the names that saved lanes get when their conversation is opened, by the lanes' ids; closed lanes come last.

    `find` returns the backend of a given name.
    """
    named: list[tuple[str, EngineDefinition]] = []
    names: dict[str, str] = {}
    for lane in sorted(lanes, key=lambda lane: lane.closed):
        names[lane.id] = _unique(lane.definition, named, find)
        named.append((names[lane.id], lane.definition))
    return names


def _unique(
    definition: EngineDefinition,
    named: Sequence[tuple[str, EngineDefinition]],
    find: BackendLookup,
) -> str:
    taken = {name for name, _ in named}
    namesakes = [other for _, other in named if other.name == definition.name]
    names = [definition.name]
    if any(other.backend != definition.backend for other in namesakes):
        names.append(f"{definition.name} ({definition.backend})")
    server = server_of(definition, find(definition.backend)) if namesakes else ""
    if server and any(server_of(other, find(other.backend)) != server for other in namesakes):
        names.append(f"{definition.name} ({server})")
    return next(name for name in chain(names, numbered(definition.name)) if name not in taken)
