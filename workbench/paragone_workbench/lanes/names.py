"""What lanes are called: by their engines' names, as long as those tell them apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, count

from paragone_workbench.engines.definitions import EngineDefinition, server_of
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.lane import Lane

__all__ = ["name_beside"]


def name_beside(definition: EngineDefinition, lanes: Iterable[Lane], registry: Registry) -> str:
    """Return the name for a lane with this engine, beside others that keep theirs.

    Engines of one name are told apart by their backends, by their servers, or else by numbers.
    """
    others = list(lanes)
    taken = {lane.name for lane in others}
    alike = [lane.engine.definition for lane in others if lane.engine.definition.name == definition.name]
    numbered = (f"{definition.name}-{number}" for number in count(2))
    names = chain([definition.name], _told_apart(definition, alike, registry), numbered)
    return next(name for name in names if name not in taken)


def _told_apart(
    definition: EngineDefinition, alike: list[EngineDefinition], registry: Registry
) -> Iterator[str]:
    if any(other.backend != definition.backend for other in alike):
        yield f"{definition.name} ({definition.backend})"
    if not alike:
        return
    server = server_of(definition, registry.find(definition.backend))
    if server and any(server_of(other, registry.find(other.backend)) != server for other in alike):
        yield f"{definition.name} ({server})"
