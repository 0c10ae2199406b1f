"""Variants of a lane's path: other answers to a prompt, and edited prompts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.runs.run import Run


def neighbour(lane: Lane, by: int) -> Run | None:
    """Return the end of the path with the next (1) or previous (-1) variant; None if the path has no variants.

    The variant is at the last place of the path that has several. The path then follows the newest runs
    that continue this variant. After the last variant comes the first.
    """
    place = next((run for run in reversed(lane.path) if len(lane.variants(run)) > 1), None)
    if place is None:
        return None
    variants = lane.variants(place)
    return newest_after(lane, variants[(variants.index(place) + by) % len(variants)])


def prompt_to_answer_again(lane: Lane, prompts: Iterable[Prompt]) -> Prompt | None:
    """Return the prompt that a lane answers if it is to answer again; None if there is none.

    The result is the newest prompt that was sent to all lanes, follows the path of this lane, and has no run in this lane.
    If no prompt is like that, the result is the last prompt on the path. `prompts` are those of the conversation, oldest first.
    """
    head = lane.record.head.prompt if lane.record.head is not None else None
    asked = {run.prompt for run in lane.record.runs}
    later = [
        prompt
        for prompt in prompts
        if prompt.for_all and prompt not in asked and (head is None or head in prompt.with_ancestors())
    ]
    return later[-1] if later else head


def newest_after(lane: Lane, run: Run) -> Run:
    """Return the end of the path that leads through a run and the newest runs that continue it."""
    while later := [other for other in lane.record.runs if other.continues is run]:
        run = later[-1]
    return run
