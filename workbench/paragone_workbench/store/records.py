"""The types that the store returns: loaded conversations, entries of the list, and search hits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.identity import new_id

if TYPE_CHECKING:  # not at run time: the import would load asyncio
    from paragone_workbench.conversation.tree import Conversation
    from paragone_workbench.runs.run import Run


@dataclass(slots=True, kw_only=True, eq=False)
class LaneRecord:
    """A lane of a conversation: its engine, its runs, and the run at the end of its path."""

    definition: EngineDefinition
    """The lane's current engine. Earlier runs may have used another one."""
    position: int
    """Lanes are sorted by it, from left to right."""
    closed: bool = False
    head: Run | None = None
    """The last run of the lane's path; its `continues` leads to the earlier runs."""
    runs: list[Run] = field(default_factory=list)
    """All runs of the lane, oldest first, including those that are not on its path.

    `Store.load` fills it; code that adds a run to the lane must append it here.
    """
    id: str = field(default_factory=new_id)
    """A UUID of version 7."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedConversation:
    """A conversation read from the history, with all its lanes and runs."""

    conversation: Conversation
    title: str
    updated: float
    """When the conversation was last used, in seconds since 1970."""
    lanes: tuple[LaneRecord, ...]
    """All lanes in the order of their positions, including closed ones."""
    runs: tuple[Run, ...]
    """All runs of all lanes, oldest first. A run that has not ended has the state `interrupted`."""
    running: frozenset[str] = frozenset()
    """Ids of the runs that had not ended: another instance of the program is writing them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """An entry in the list of conversations."""

    number: int
    """The 7 in `c7`, which people type."""
    title: str
    engines: tuple[str, ...]
    """Names of the engines of all lanes that are not closed, in the order of the lanes."""
    prompts: int
    updated: float
    """When the conversation was last used, in seconds since 1970; 0 if that record is damaged."""
    tags: tuple[str, ...] = ()
    """In alphabetical order."""
    is_pinned: bool = False
    is_interrupted: bool = False
    """Whether the last answer of a lane that is not closed was interrupted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A prompt, an answer or a title that a search found."""

    place: str
    """Where it was found, as commands accept it: `c7`, or `e3/17` for an answer in an experiment."""
    conversation: int | None
    """The number of the conversation; None for an answer in an experiment."""
    title: str
    """Of the conversation or the experiment."""
    prompt_id: str | None
    """The prompt in the conversation; None for a title, and for an answer in an experiment."""
    run_id: str | None
    """The run whose answer was found; None if a prompt or a title was found, and for an answer in an experiment."""
    engine: str
    """Name of the engine that gave the answer; empty for a prompt and a title."""
    snippet: str
    """The text around the first match of a term, on one line."""
    marks: tuple[tuple[int, int], ...] = field(default=())
    """Start and end index of each match in the snippet."""
    time: float
    """When the prompt was created, the run started, or the conversation of the title was used, in seconds since 1970."""
