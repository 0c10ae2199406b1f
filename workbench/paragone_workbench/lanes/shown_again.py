"""Which lanes of an earlier conversation are shown when it is reopened."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.runs.run import Run
    from paragone_workbench.store.records import Hit, LaneRecord


class Reopened(NamedTuple):
    """What came of reopening a conversation."""

    closed_lanes: int
    """Number of lanes that the user closed earlier: these are not shown, but their answers stay in the history."""
    shown_again: Lane | None
    """The lane that was closed, and is not any more, because it has what a search found."""


def closed_lane_with(lanes: Sequence[LaneRecord], hit: Hit) -> LaneRecord | None:
    """Return the closed lane that has what a search found; None if a lane that is not closed has it, or none."""
    if hit.prompt_id is None:
        return None
    having = [lane for lane in lanes if any(is_found_in(run, hit.prompt_id, hit.run_id) for run in lane.runs)]
    return having[0] if having and all(lane.closed for lane in having) else None


def is_found_in(run: Run, prompt_id: str, run_id: str | None) -> bool:
    """Whether a run is the one with an id; without one, whether it is a run of the prompt."""
    prompt = run.prompt
    return run.id == run_id if run_id is not None else prompt is not None and prompt.id == prompt_id
