"""Makes the sides of a parity check from the lanes of a session."""

from __future__ import annotations

from paragone_workbench.compare.parity.side import Side
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.session import Session
from paragone_workbench.runs.run import Run


def answered_sides(session: Session) -> list[Side]:
    """Return a side for each lane that answered the newest prompt which several lanes have answered.

    Lanes whose engine was replaced since then are left out.
    """
    for prompt in reversed(session.prompts):
        answers = ((lane, lane.answer(prompt)) for lane in session.lanes)
        sides = [_side(lane, run) for lane, run in answers if run is not None and _is_comparable(lane, run)]
        if len(sides) > 1:
            return sides
    return []


def open_sides(session: Session) -> list[Side]:
    """Return a side without an answer for each lane whose engine is open."""
    return [_side(lane) for lane in session.lanes if lane.engine.loaded is not None]


def _is_comparable(lane: Lane, run: Run) -> bool:
    same = run.result.definition.has_model_of(lane.engine.definition)
    return same and run.phase == "ended" and run.settings is not None


def _side(lane: Lane, run: Run | None = None) -> Side:
    source = lane.engine if run is None else run.result
    return Side(
        name=lane.name,
        definition=source.definition,
        chosen=_chosen(lane.first_definition, source.definition),
        backend=lane.engine.backend,
        loaded=source.loaded,
        run=None if run is None else run.result,
        messages=None if run is None or run.spec is None else run.spec.messages,
    )


def _chosen(first: EngineDefinition, definition: EngineDefinition) -> frozenset[str]:
    """Return the names of options that the user set on the screen since `first`; none if `definition` is another engine."""
    if not first.is_called_like(definition):
        return frozenset()
    return frozenset(name for name, value in definition.options.items() if value != first.options.get(name))
