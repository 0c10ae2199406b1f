"""What the store hands out: lists, hits of a search, and conversations as the program has them in memory."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from paragone_workbench.engines.definitions import EngineDefinition

if TYPE_CHECKING:  # at run time it would import asyncio
    from paragone_workbench.conversation.tree import Conversation
    from paragone_workbench.runs.record import RunRecord

__all__ = ["Hit", "LaneRecord", "SavedConversation", "Summary"]


@dataclass(slots=True, kw_only=True, eq=False)
class LaneRecord:
    """A lane of a conversation: its engine, and the run that its path ends with."""

    definition: EngineDefinition
    """The engine that it has now; earlier runs may have had another."""
    position: int
    """Orders the lanes, from the left."""
    closed: bool = False
    head: RunRecord | None = None
    """The selected run at the end of its path; `continues` leads to the runs before it."""
    runs: list[RunRecord] = field(default_factory=list)
    """All its runs, the oldest first, those off the selected path included.

    Filled by `Store.load`; whoever adds a run to the lane adds it here.
    """
    id: int | None = None
    """Its id in the history, once it is saved."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedConversation:
    """A conversation read from the history, whole."""

    conversation: Conversation
    title: str
    updated: float
    """When it was used last, in seconds since 1970."""
    lanes: tuple[LaneRecord, ...]
    """In the order of their positions, closed ones included."""
    runs: tuple[RunRecord, ...]
    """All runs of all lanes, the oldest first. A run that had not ended is `interrupted`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A conversation as a list shows it."""

    id: int
    title: str
    engines: tuple[str, ...]
    """Names of the open lanes' engines, in the order of the lanes."""
    prompts: int
    updated: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A place where a search found its terms."""

    conversation_id: int
    title: str
    prompt_id: int
    run_id: int | None
    """The answer that was found; None where it is the prompt."""
    engine: str
    """Whose answer it is; empty for a prompt."""
    snippet: str
    """The text around the first term, on one line."""
    marks: tuple[tuple[int, int], ...] = field(default=())
    """Where in the snippet terms stand: start and end of each."""
    time: float
