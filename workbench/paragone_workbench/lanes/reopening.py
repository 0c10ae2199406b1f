"""The lanes of a conversation that is reopened: current ones where their engines are the same, else new ones."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from paragone import InputError
from paragone_workbench.lanes.names import unique_name
from paragone_workbench.store.records import QueuedRecord

if TYPE_CHECKING:
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.engines.registry import Registry
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.runs.run import Run
    from paragone_workbench.store.records import Hit, LaneRecord, SavedConversation


class Reopened(NamedTuple):
    """The result of reopening a conversation."""

    closed_lanes: int
    """Number of lanes that the user closed earlier: these are not shown, but their answers stay in the history."""
    shown_again: Lane | None
    """A lane that was closed and is shown again, because it has the answer that a search found."""


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

    def with_secrets(kept: EngineDefinition) -> EngineDefinition:
        known = configured.get(kept.name)
        return known if known is not None and registry.public(known) == kept else kept

    spare = list(current)
    lanes: list[Lane] = []
    for record in records:
        if record.closed:
            continue
        alike = [lane for lane in spare if _is_alike(lane, record.definition, registry)]
        name = record.definition.name
        lane = next((lane for lane in alike if lane.engine.definition.name == name), next(iter(alike), None))
        if lane is None:
            lane = new_lane(with_secrets(record.definition), [*lanes, *spare], record)
        else:
            spare.remove(lane)
            if lane.engine.definition.name != name:
                _rename(lane, name, [*lanes, *spare], registry)
            lane.resume(record)
        lanes.append(lane)
    return lanes, spare


def closed_lane_with(lanes: Sequence[LaneRecord], hit: Hit) -> LaneRecord | None:
    """Return the closed lane that has what a search found; None if a lane that is not closed has it, or none."""
    if hit.prompt_id is None:
        return None
    having = [
        lane for lane in lanes if any(is_found_in(run, hit.prompt_id, hit.run_id) for run in lane.all_runs)
    ]
    return having[0] if having and all(lane.closed for lane in having) else None


def is_found_in(run: Run, prompt_id: str, run_id: str | None) -> bool:
    """Whether a run has the id `run_id`; if that is None, whether it is a run of the prompt."""
    prompt = run.prompt
    return run.id == run_id if run_id is not None else prompt is not None and prompt.id == prompt_id


def waiting_in(saved: SavedConversation) -> tuple[QueuedRecord, ...]:
    """Return the queue of a saved conversation, with the prompts that no lane has begun.

    If the program ended between the two saves, such a prompt is in the saved conversation and missing in the saved queue.
    """
    answered = {run.prompt.id for run in saved.runs if run.prompt is not None}
    continued = {prompt.parent.id for prompt in saved.conversation.prompts if prompt.parent is not None}
    known = answered | continued | {record.prompt_id for record in saved.queue}
    lost = (
        QueuedRecord(
            text=prompt.written,
            files=prompt.files,
            images=prompt.images,
            for_all=prompt.for_all,
            lanes=tuple(lane.id for lane in saved.lanes if not lane.closed),
            prompt_id=prompt.id,
        )
        for prompt in saved.conversation.prompts
        if prompt.id not in known
    )
    return (*lost, *saved.queue)


def has_same_engines(lanes: Sequence[Lane], records: Iterable[LaneRecord], registry: Registry) -> bool:
    """Whether there are lanes, and they have the engines of the saved lanes that are not closed, in the same order.

    The engines may have other names.
    """
    kept = [record.definition for record in records if not record.closed]
    return (
        bool(lanes)
        and len(lanes) == len(kept)
        and all(_is_alike(lane, definition, registry) for lane, definition in zip(lanes, kept, strict=True))
    )


def _is_alike(lane: Lane, definition: EngineDefinition, registry: Registry) -> bool:
    """Whether a lane has an engine that was saved, perhaps under another name."""
    present = registry.public(lane.engine.definition)
    return dataclasses.replace(present, name=definition.name) == definition


def _rename(lane: Lane, name: str, others: Sequence[Lane], registry: Registry) -> None:
    """Give a lane's engine another name, unless its options are invalid: then it cannot be opened anyway."""
    with contextlib.suppress(InputError):
        renamed = dataclasses.replace(lane.engine.definition, name=name)
        lane.engine.configure(renamed)
        lane.name = unique_name(renamed, others, registry)
