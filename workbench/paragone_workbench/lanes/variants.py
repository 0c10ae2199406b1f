"""Variants of a lane's path: other answers to a prompt, and edited prompts."""

from __future__ import annotations

from collections.abc import Iterable

from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.runs.record import RunRecord

__all__ = ["neighbour", "prompt_to_answer_again"]


def neighbour(lane: Lane, by: int) -> RunRecord | None:
    """Return the end of the path with the next (1) or previous (-1) variant; None if the path has no variants.

    The variant is at the last place of the path that has several. The path then follows the newest runs
    that continue this variant. After the last variant comes the first.
    """
    place = next((run for run in reversed(lane.path) if len(lane.variants(run)) > 1), None)
    if place is None:
        return None
    variants = lane.variants(place)
    tip = variants[(variants.index(place) + by) % len(variants)]
    while later := [run for run in lane.record.runs if run.continues is tip]:
        tip = later[-1]
    return tip


def prompt_to_answer_again(lane: Lane, prompts: Iterable[Prompt]) -> Prompt | None:
    """Return the prompt that a lane answers if it is to answer again; None if there is none.

    This is the newest prompt for all lanes that continues the lane's path but has no run in the lane; if
    there is none, the last prompt on the path. `prompts` are those of the conversation, oldest first.
    """
    head = lane.record.head.prompt if lane.record.head is not None else None
    asked = {run.prompt for run in lane.record.runs}
    later = [
        prompt
        for prompt in prompts
        if prompt.for_all and prompt not in asked and (head is None or head in prompt.with_ancestors())
    ]
    return later[-1] if later else head
