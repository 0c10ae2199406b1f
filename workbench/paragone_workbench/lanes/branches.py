"""The turns of a lane as a tree, with all branches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.runs.run import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class TreeTurn:
    run: Run
    branches: int
    """Number of turns on the path to this turn, including this turn, that have an older variant."""
    variant: int
    """The number of this turn, from 1, among the variants that continue the same turn."""
    variants: int
    """Number of variants that continue the same turn, including this turn."""
    is_shown: bool
    """Whether the turn is on the lane's path."""


def tree(lane: Lane) -> Iterator[TreeTurn]:
    """Yield all turns of a lane: each turn is followed by the turns that continue it, the oldest first."""
    following: dict[Run | None, list[Run]] = {}
    for run in lane.record.all_runs:
        following.setdefault(run.continues, []).append(run)
    known = set(lane.record.all_runs)
    first = [run for run in lane.record.all_runs if run.continues not in known]
    shown = set(lane.path)
    waiting = [(run, 0) for run in reversed(first)]
    while waiting:
        run, branches = waiting.pop()
        places = following[run.continues]
        number = places.index(run)
        branches += number > 0
        yield TreeTurn(
            run=run, branches=branches, variant=number + 1, variants=len(places), is_shown=run in shown
        )
        waiting += [(later, branches) for later in reversed(following.get(run, []))]
