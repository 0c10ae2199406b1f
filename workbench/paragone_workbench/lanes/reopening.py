"""The lanes of a conversation that is reopened: current ones where their engines are the same, else new ones."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from paragone_workbench.engines.definitions import without_secrets

if TYPE_CHECKING:
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.engines.registry import Registry
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.store.records import LaneRecord


def lanes_of(
    records: Iterable[LaneRecord],
    current: Sequence[Lane],
    registry: Registry,
    configured: Mapping[str, EngineDefinition],
    new_lane: Callable[[EngineDefinition, Sequence[Lane], LaneRecord], Lane],
) -> tuple[list[Lane], list[Lane]]:
    """Return the lanes for the saved lanes that are not closed, and the current lanes that have no part in them.

    `configured` are the engines of config.toml, which have secrets. `new_lane` makes a lane of a definition, the lanes
    whose names are taken, and the saved lane.
    """

    def public(definition: EngineDefinition) -> EngineDefinition:
        return without_secrets(definition, registry.find(definition.backend))

    def with_secrets(kept: EngineDefinition) -> EngineDefinition:
        known = configured.get(kept.name)
        return known if known is not None and public(known) == kept else kept

    spare = list(current)
    lanes: list[Lane] = []
    for record in records:
        if record.closed:
            continue
        alike = (lane for lane in spare if public(lane.engine.definition) == record.definition)
        lane = next(alike, None)
        if lane is None:
            lane = new_lane(with_secrets(record.definition), [*lanes, *spare], record)
        else:
            spare.remove(lane)
            lane.resume(record)
        lanes.append(lane)
    return lanes, spare
