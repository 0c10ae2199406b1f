"""The changes in a conversation that one save writes, as immutable values.

The store's thread reads the changes while the event loop continues. Writing the same changes
again has no further effect.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # not at run time: the import would load asyncio
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.runs.result import RunResult
    from paragone_workbench.store.records import LaneRecord, QueuedPrompt, SavedConversation


PART = 100
"""Largest number of runs that `Changes.in_parts` puts into a part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRow:
    id: str
    definition: EngineDefinition
    position: int
    closed: bool
    head_id: str | None
    """The id of the last run of the lane's path, a run saved already or with these changes; None to keep the saved id."""
    fork_id: str | None = None
    """The id of the last run before the lane's fork, saved already or with these changes; None to keep the saved id."""

    @classmethod
    def of(cls, lane: LaneRecord, head_id: str | None, fork_id: str | None = None) -> LaneRow:
        """Return the row of a lane in its present state."""
        return cls(
            id=lane.id,
            definition=lane.definition,
            position=lane.position,
            closed=lane.closed,
            head_id=head_id,
            fork_id=fork_id,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnRow:
    """A lane's run to write: a run that is new, has ended, or has changed in more than the text."""

    lane_id: str
    prompt_id: str
    continues_id: str | None
    """The id of the run before this run on the path, saved already or earlier in these changes; None for a first run."""
    result: RunResult


@dataclass(frozen=True, slots=True, kw_only=True)
class NewText:
    """Text that a run in progress has added since the last successful save."""

    run_id: str
    position: int
    """Number of characters, of the answer and the thinking together, that were saved before."""
    text: str = ""
    thinking: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """The changes in a conversation since the last successful save."""

    conversation_id: str
    created: float
    """When the conversation began, in seconds since 1970."""
    is_saved: bool
    """Whether the conversation was saved before. If the history lacks a saved conversation, another instance deleted it."""
    prompts: tuple[Prompt, ...] = ()
    """New prompts, each after its parent. Prompts never change."""
    lanes: tuple[LaneRow, ...] = ()
    turns: tuple[TurnRow, ...] = ()
    texts: tuple[NewText, ...] = ()
    queue: tuple[QueuedPrompt, ...] | None = None
    """All prompts that wait now; None if the queue has not changed."""
    opened: float | None = None
    """When the conversation was opened again, in seconds since 1970; None if this time is already saved."""

    @classmethod
    def of(cls, saved: SavedConversation, known: Collection[str] = ()) -> Changes:
        """Return the changes that save a whole conversation, without the prompts, lanes and runs whose ids are `known`."""
        lane_of = {run.id: lane.id for lane in saved.lanes for run in lane.runs}
        return cls(
            conversation_id=saved.conversation.id,
            created=saved.conversation.created,
            is_saved=False,
            prompts=tuple(prompt for prompt in saved.conversation.prompts if prompt.id not in known),
            lanes=tuple(
                LaneRow.of(
                    lane,
                    None if lane.head is None else lane.head.id,
                    None if lane.fork is None else lane.fork.id,
                )
                for lane in saved.lanes
                if lane.id not in known
            ),
            turns=tuple(
                TurnRow(
                    lane_id=lane_of[run.id],
                    prompt_id=run.prompt.id,
                    continues_id=None if run.continues is None else run.continues.id,
                    result=run.result,
                )
                for run in saved.runs
                if run.prompt is not None and run.id not in known
            ),
        )

    def in_parts(self) -> Iterator[Changes]:
        """Yield the same changes in parts that are each saved quickly, so that other programs can write in between."""
        headless = tuple(replace(lane, head_id=None, fork_id=None) for lane in self.lanes)
        yield replace(self, lanes=headless, turns=(), texts=(), queue=None)
        rest = replace(self, is_saved=True, prompts=())
        for start in range(0, len(self.turns), PART):
            yield replace(rest, lanes=(), turns=self.turns[start : start + PART], texts=(), queue=None)
        yield replace(rest, turns=())
