"""The lanes of a reopened conversation: current lanes with the same engines, else new lanes."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from paragone import InputError
from paragone_workbench.engines.definitions import address_of, load_and_sampling_options, secret_options
from paragone_workbench.lanes.lane import unique_name
from paragone_workbench.store.records import QueuedPrompt

if TYPE_CHECKING:
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.engines.registry import Registry
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.runs.run import Run
    from paragone_workbench.store.records import Hit, LaneRecord, SavedConversation


def lanes_of(
    records: Iterable[LaneRecord],
    current: Sequence[Lane],
    registry: Registry,
    configured: Mapping[str, EngineDefinition],
    new_lane: Callable[[EngineDefinition, Sequence[Lane], LaneRecord], Lane],
) -> tuple[list[Lane], list[Lane]]:
    """Return a lane for each saved lane that is open, and the current lanes that are not reused. `configured` has
    engines with secrets."""
    spare = list(current)
    shown = [record for record in records if not record.closed]
    kept: dict[str, Lane] = {}
    # equal engines first, so that their lanes are not reconfigured for other saved lanes
    for find in (_find_equal, _find_and_configure):
        for record in shown:
            if record.id not in kept and (lane := find(record.definition, spare, registry)) is not None:
                kept[record.id] = lane
                spare.remove(lane)
    lanes: list[Lane] = []
    for record in shown:
        if (lane := kept.get(record.id)) is None:
            known = configured.get(record.definition.name, record.definition)
            lane = new_lane(_with_secrets(record.definition, known, registry), lanes, record)
        else:
            name = record.definition.name
            if lane.engine.definition.name != name:
                with contextlib.suppress(InputError):  # an engine with invalid options keeps its name
                    lane.engine.configure(dataclasses.replace(lane.engine.definition, name=name))
            lane.name = unique_name(lane.engine.definition, lanes, registry)
            lane.resume(record)
        lanes.append(lane)
    return lanes, spare


def _find_equal(kept: EngineDefinition, lanes: Iterable[Lane], registry: Registry) -> Lane | None:
    alike = (lane for lane in lanes if _is_alike(lane, kept, registry))
    return min(alike, key=lambda lane: lane.engine.definition.name != kept.name, default=None)


def _find_and_configure(kept: EngineDefinition, lanes: Iterable[Lane], registry: Registry) -> Lane | None:
    """Give the saved options to a lane with the saved engine, and return it; None if every such lane would need a reload."""
    same = [
        lane
        for lane in lanes
        if lane.engine.error is None and is_same_engine(lane.engine.definition, kept, registry)
    ]
    for lane in sorted(same, key=lambda lane: lane.engine.definition.name != kept.name):
        definition = _with_secrets(kept, lane.engine.definition, registry)
        with contextlib.suppress(InputError):  # a new lane will report which option is invalid
            if lane.engine.configure(definition):
                lane.first_definition, lane.is_reopened = definition, True
                return lane
    return None


def _with_secrets(kept: EngineDefinition, known: EngineDefinition, registry: Registry) -> EngineDefinition:
    """Return a saved engine with the secret options of `known`, if both have the same server, model and load options."""
    backend = registry.find(kept.backend)
    with contextlib.suppress(InputError):  # the lane will report invalid options
        if backend is not None and is_same_engine(known, kept, registry):
            secret = {name: value for name, value in known.options.items() if name in secret_options(backend)}
            load, _ = load_and_sampling_options(registry.public(known), backend)
            if load == load_and_sampling_options(kept, backend)[0]:
                return dataclasses.replace(kept, options={**kept.options, **secret})
    return kept


def closed_lane_with(lanes: Sequence[LaneRecord], hit: Hit) -> LaneRecord | None:
    """Return the closed lane that has a search result; None if an open lane has it, or no lane."""
    if hit.prompt_id is None:
        return None
    having = [
        lane for lane in lanes if any(is_found_in(run, hit.prompt_id, hit.run_id) for run in lane.all_runs)
    ]
    return having[0] if having and all(lane.closed for lane in having) else None


def is_found_in(run: Run, prompt_id: str, run_id: str | None) -> bool:
    """Return whether a run has the id `run_id`; if `run_id` is None, whether the run answers the prompt."""
    prompt = run.prompt
    return run.id == run_id if run_id is not None else prompt is not None and prompt.id == prompt_id


def queued_prompts_of(saved: SavedConversation) -> tuple[QueuedPrompt, ...]:
    """Return the saved queue, and the prompts that it lacks and that have no run: the program ended before it saved
    the queue."""
    known = {run.prompt for run in saved.runs} | {prompt.parent for prompt in saved.conversation.prompts}
    known |= {queued.prompt for queued in saved.queue}
    lost = (
        QueuedPrompt(
            text=prompt.written,
            files=prompt.files,
            images=prompt.images,
            for_all=prompt.for_all,
            lanes=[lane for lane in saved.lanes if not lane.closed],
            prompt=prompt,
        )
        for prompt in saved.conversation.prompts
        if prompt not in known
    )
    return (*lost, *saved.queue)


def has_same_engines(
    lanes: Sequence[Lane],
    records: Iterable[LaneRecord],
    registry: Registry,
    configured: Mapping[str, EngineDefinition],
) -> bool:
    """Return whether the lanes have the engines of the open saved lanes, in order. Options and names may differ. But
    engines of config.toml (`configured`) whose names and options both differ are never the same."""

    def is_same(lane: Lane, kept: EngineDefinition) -> bool:
        name = lane.engine.definition.name
        are_two = name != kept.name and name in configured and kept.name in configured
        return _is_alike(lane, kept, registry) or (
            not are_two and is_same_engine(lane.engine.definition, kept, registry)
        )

    kept = [record.definition for record in records if not record.closed]
    return bool(lanes) and len(lanes) == len(kept) and all(map(is_same, lanes, kept))


def lanes_with_other_options(
    lanes: Iterable[Lane], configured: Mapping[str, EngineDefinition], registry: Registry
) -> Sequence[tuple[Lane, EngineDefinition]]:
    """Return free lanes whose options still are those of a reopened conversation, but not those in config.toml. Each
    lane comes with its engine in config.toml."""
    found: list[tuple[Lane, EngineDefinition]] = []
    for lane in lanes:
        present = lane.engine.definition
        defined = configured.get(present.name, present)
        is_unchanged = lane.is_reopened and present == lane.first_definition and not lane.is_busy
        if is_unchanged and defined != present and is_same_engine(defined, present, registry):
            found.append((lane, defined))
    return found


def is_same_engine(one: EngineDefinition, other: EngineDefinition, registry: Registry) -> bool:
    """Return whether two definitions have the same backend, model, interpreter and server. Names and options may differ."""
    backend = registry.find(one.backend)
    one, other = registry.public(one), registry.public(other)
    return (
        one.has_model_of(other)
        and one.python == other.python
        and address_of(one, backend) == address_of(other, backend)
    )


def _is_alike(lane: Lane, kept: EngineDefinition, registry: Registry) -> bool:
    """Return whether a lane's engine equals a saved engine, apart from the name."""
    present = registry.public(lane.engine.definition)
    return dataclasses.replace(present, name=kept.name) == kept
