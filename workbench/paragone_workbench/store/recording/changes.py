"""The changes in a conversation that one save writes, as immutable values.

The store's thread reads the changes while the event loop goes on. Writing them twice has the same effect as once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # not at run time: the import would load asyncio
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.engines.definitions import EngineDefinition
    from paragone_workbench.runs.result import RunResult
    from paragone_workbench.store.records import LaneRecord, QueuedRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRow:
    """A lane that is new or changed."""

    id: str
    definition: EngineDefinition
    position: int
    closed: bool
    head_id: str | None
    """A run that is already saved, or is saved with these changes; None to keep the saved head."""
    fork_id: str | None = None
    """The same of the run after which the lane was forked."""

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
    """A run of a lane that is new, has ended, or changed in more than its text."""

    lane_id: str
    prompt_id: str
    continues_id: str | None
    """A run that is already saved, or comes before this one in the same changes."""
    result: RunResult


@dataclass(frozen=True, slots=True, kw_only=True)
class NewText:
    """Text that a run in progress has added since its last successful save."""

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
    """Whether the history has the conversation already, so that it was deleted if it is not there."""
    prompts: tuple[Prompt, ...] = ()
    """New prompts, each after its parent. They never change."""
    lanes: tuple[LaneRow, ...] = ()
    turns: tuple[TurnRow, ...] = ()
    texts: tuple[NewText, ...] = ()
    queue: tuple[QueuedRecord, ...] | None = None
    """All prompts that wait now; None if that has not changed."""
