"""Variants of a lane's path, and the turns of a lane as a tree with all branches."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paragone_workbench.lanes.settings import changes

if TYPE_CHECKING:
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.runs.run import Run


def neighbour(lane: Lane, by: int, at: Run | None = None) -> Run | None:
    """Return the end of the path through the next (1) or previous (-1) variant, in a circle, of the run `at`, by
    default the last that has variants; None without variants."""
    places = reversed(lane.path) if at is None else (at,)
    place = next((run for run in places if len(lane.variants(run)) > 1), None)
    if place is None:
        return None
    variants = lane.variants(place)
    return newest_after(lane, variants[(variants.index(place) + by) % len(variants)])


def other_author(lane: Lane, run: Run, *, in_full: bool = True) -> str:
    """Return `by small (llama_cpp)` for the answer of another engine, `with temperature=0.8` for other settings (or,
    not `in_full`, `with other settings`); empty if nothing differs."""
    author, present = run.result.definition, lane.engine.definition
    if author == present:
        return ""
    if not author.is_called_like(present):
        return f"by {author.name} ({author.backend})"
    if not author.has_model_of(present):
        return f"by {author.name} with {author.model}"
    settings = changes(present, author, lane.engine.backend)
    if not settings:
        return ""
    return f"with {settings}" if in_full else "with other settings"


def prompt_to_answer_again(lane: Lane, prompts: Iterable[Prompt]) -> Prompt | None:
    """Return the newest prompt for all lanes that follows the lane's path and has no run there, else the last on the
    path."""
    head = lane.record.head.prompt if lane.record.head is not None else None
    asked = {run.prompt for run in lane.record.all_runs}
    later = [
        prompt
        for prompt in prompts
        if prompt.for_all and prompt not in asked and (head is None or head in prompt.with_ancestors())
    ]
    return later[-1] if later else head


def newest_after(lane: Lane, run: Run) -> Run:
    """Return the end of the path that leads through a run and the newest runs that continue it."""
    while later := [other for other in lane.record.all_runs if other.continues is run]:
        run = later[-1]
    return run


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
