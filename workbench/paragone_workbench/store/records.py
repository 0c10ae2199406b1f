"""The types that the store returns: loaded conversations, entries of the list, and search hits."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.identity import new_id
from paragone_workbench.runs.context import path_to

if TYPE_CHECKING:  # not at run time: the import would load asyncio
    from collections.abc import Mapping

    from paragone import Image
    from paragone_workbench.conversation.attachments.attached_file import AttachedFile
    from paragone_workbench.conversation.tree import Conversation, Prompt
    from paragone_workbench.runs.run import Run


@dataclass(slots=True, kw_only=True, eq=False)
class LaneRecord:
    """A lane of a conversation: its engine, its runs, and the run at the end of its path."""

    definition: EngineDefinition
    """The lane's current engine. Earlier runs may have used another engine."""
    position: int
    """The sort key of the lanes, from left to right."""
    closed: bool = False
    head: Run | None = None
    """The last run of the lane's path; `Run.continues` leads to the earlier runs."""
    runs: list[Run] = field(default_factory=list)
    """All runs that the lane's engine executed, oldest first, including runs outside the lane's path.

    `Store.load` fills this list; code that adds a run to the lane must append the run here.
    """
    fork: Run | None = None
    """The last run that a forked lane took over from the original lane; None if the lane was not forked."""
    id: str = field(default_factory=new_id)
    """A UUID of version 7."""

    @property
    def all_runs(self) -> tuple[Run, ...]:
        """The runs that a forked lane took over from the original lane, then the lane's own runs; oldest first."""
        return (*path_to(self.fork), *self.runs)


@dataclass(slots=True, kw_only=True)
class QueuedPrompt:
    """A prompt that still waits for at least one lane."""

    text: str
    """The text that the user wrote, without the attached files."""
    files: tuple[AttachedFile, ...] = ()
    images: tuple[Image, ...] = ()
    for_all: bool = True
    """Whether the prompt was sent to all lanes."""
    lanes: list[LaneRecord]
    """The lanes that have not begun the prompt."""
    prompt: Prompt | None = None
    """The prompt in the conversation; None until a lane has begun the prompt, after which `text` no longer changes."""
    kept_by: set[LaneRecord] = field(default_factory=set, compare=False)
    """The lanes that do not begin the prompt until the user sends it again, such as lanes that were stopped. Not saved."""

    @property
    def is_kept(self) -> bool:
        """Whether the prompt waits until the user sends it again, for at least one lane or because no lane is left."""
        return not self.lanes or bool(self.kept_by)


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftRecord:
    """The saved form of a prompt that was written and not sent."""

    text: str
    """What the user wrote, with a mark for each text that was pasted and folded."""
    pasted: Mapping[str, str] = field(default_factory=dict)
    """The pasted texts by their marks."""
    named: tuple[str, ...] = ()
    """The paths of the files that the user mentioned."""
    edits: str = ""
    """The id of the earlier prompt of which this draft is a new version; empty for a new prompt."""


NO_DRAFT = DraftRecord(text="")


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
    """Ids of the runs that another instance of the program was executing when the conversation was read."""
    queue: tuple[QueuedPrompt, ...] = ()
    """The prompts that wait for lanes, in the order in which they were sent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    number: int
    """The 7 in `c7`, which people type."""
    title: str
    engines: tuple[str, ...]
    """Names of the engines of all lanes that are not closed, each once, in the order of the lanes."""
    prompts: int
    updated: float
    """When the conversation was last used, in seconds since 1970; 0 if the record is damaged."""
    tags: tuple[str, ...] = ()
    """The tags of the conversation, in alphabetical order."""
    is_pinned: bool = False
    is_interrupted: bool = False
    """Whether the last answer of a lane that is not closed was interrupted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """A prompt, an answer or a title that a search found."""

    id: str
    """The id of the hit for commands: `c7` for a conversation, `e3/17` for an answer in an experiment."""
    conversation: int | None
    """The number of the conversation; None for an answer in an experiment."""
    title: str
    """The title of the conversation, or the name of the experiment."""
    prompt_id: str | None
    """The prompt in the conversation; None for a title, and for an answer in an experiment."""
    run_id: str | None
    """The run whose answer was found; None if a prompt or a title was found, and for an answer in an experiment."""
    engine: str
    """Name of the engine that gave the answer; empty for a prompt and a title."""
    snippet: str
    """The text around the first match of a term, on one line."""
    marks: tuple[tuple[int, int], ...] = ()
    """Start and end index of each match in the snippet."""
    time: float
    """When the prompt was created, the run started, or the conversation of the title was used, in seconds since 1970."""

    @property
    def is_title(self) -> bool:
        """Whether a conversation's title was found, or a text that equals the title."""
        return self.conversation is not None and (self.prompt_id is None or self.snippet == self.title)
