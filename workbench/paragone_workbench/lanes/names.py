"""Unique names for lanes, made from the names of their engines."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from paragone_workbench.engines.definitions import EngineDefinition, numbered, server_of
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.lane import Lane


def unique_name(definition: EngineDefinition, lanes: Iterable[Lane], registry: Registry) -> str:
    """Return a name for a lane with this engine that none of the given lanes has.

    Engines with the same name are distinguished by backend, by server, or else by a number.
    """
    others = list(lanes)
    taken = {lane.name for lane in others}
    namesakes = [lane.engine.definition for lane in others if lane.engine.definition.name == definition.name]
    qualified = _qualified_names(definition, namesakes, registry)
    names = chain([definition.name], qualified, numbered(definition.name))
    return next(name for name in names if name not in taken)


def _qualified_names(
    definition: EngineDefinition, namesakes: list[EngineDefinition], registry: Registry
) -> Iterator[str]:
    if any(other.backend != definition.backend for other in namesakes):
        yield f"{definition.name} ({definition.backend})"
    if not namesakes:
        return
    server = server_of(definition, registry.find(definition.backend))
    if server and any(server_of(other, registry.find(other.backend)) != server for other in namesakes):
        yield f"{definition.name} ({server})"
