"""The types that the store returns (loaded conversations, entries of the list, search hits), and search queries."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING

from paragone import InputError
from paragone.texts import quoted
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.ids import new_id
from paragone_workbench.runs.context import path_to

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paragone import Image
    from paragone_workbench.conversation.tree import AttachedFile, Conversation, Prompt
    from paragone_workbench.runs.run import Run


FILTERS = ("engine", "model", "tag", "since", "until")
"""The filters, each written as `NAME:VALUE` among the words."""

_FILTER = re.compile(rf"({'|'.join(FILTERS)}):(\S{{1,200}})", re.IGNORECASE)
_DATE = re.compile(r"(\d{4})(?:-(\d{1,2}))?(?:-(\d{1,2}))?", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A parsed search text. Each hit contains all words, and belongs to a conversation that fits all filters."""

    words: tuple[str, ...] = ()
    engines: tuple[str, ...] = ()
    """Parts of names: an engine with such a name has answered in the conversation."""
    models: tuple[str, ...] = ()
    """Parts of names: a model with such a name has answered in the conversation."""
    tags: tuple[str, ...] = ()
    """Complete tags of the conversation, in lower case."""
    since: float | None = None
    """The conversation was used at this time or later, in seconds since 1970."""
    until: float | None = None
    """The conversation began before this time, in seconds since 1970."""


def read_query(text: str) -> Query:
    """Return the words and the filters of a text, such as `engine:small since:2026-10 colour`. Raises InputError."""
    words: list[str] = []
    parts: dict[str, list[str]] = {name: [] for name in FILTERS}
    for word in text.replace("\0", " ").split():
        found = _FILTER.fullmatch(word)
        if found is None:
            words.append(word)
        else:
            parts[found[1].lower()].append(found[2])
    return Query(
        words=tuple(words),
        engines=tuple(parts["engine"]),
        models=tuple(parts["model"]),
        tags=tuple(map(tag_name, parts["tag"])),
        since=max((_period(date)[0] for date in parts["since"]), default=None),
        until=min((_period(date)[1] for date in parts["until"]), default=None),
    )


def tag_name(text: str) -> str:
    """Return the saved form of a tag: one word in lower case. Raises InputError if the text cannot be a tag."""
    name = text.strip().lstrip("#").lower()
    if not name or not name.isprintable() or len(name.split()) != 1 or len(name) > 40:
        raise InputError(f"{quoted(text)} is not a tag: a tag is one word of at most 40 characters.")
    return name


def _period(text: str) -> tuple[float, float]:
    """Return the beginning and the end of a day, a month or a year in local time, in seconds since 1970."""
    try:
        if (found := _DATE.fullmatch(text)) is None:
            raise ValueError(text)
        year, month, day = (int(part or 0) for part in found.groups())
        begin = datetime(year, 1 if found[2] is None else month, 1 if found[3] is None else day)
        if found[3] is not None:
            end = datetime.fromordinal(begin.toordinal() + 1)
        else:
            months = 12 * year + (begin.month if found[2] is not None else 12)  # since the year 0
            end = datetime(months // 12, months % 12 + 1, 1)
        return begin.timestamp(), end.timestamp()
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{quoted(text)} is not a date.", hint="Write 2026, 2026-10 or 2026-10-31."
        ) from error


_BEFORE, _WIDTH = 30, 100  # characters of a snippet: before the first match, and in total


def any_word_pattern(words: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that matches each of the words in upper or lower case; without words, it matches nothing."""
    longest_first = sorted(words, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)", re.IGNORECASE)


def snippet_of(text: str, words: re.Pattern[str]) -> tuple[str, tuple[tuple[int, int], ...]]:
    found = words.search(text)
    start = max(0, found.start() - _BEFORE) if found else 0
    snippet = " ".join(text[start : start + _WIDTH].split())
    return snippet, tuple(match.span() for match in words.finditer(snippet))


@dataclass(slots=True, kw_only=True, eq=False)
class LaneRecord:
    definition: EngineDefinition
    """The lane's current engine. Earlier runs may have used another engine."""
    position: int
    """The sort key of the lanes, from left to right."""
    closed: bool = False
    head: Run | None = None
    """The last run of the lane's path; `Run.continues` leads to the earlier runs."""
    runs: list[Run] = field(default_factory=list)
    """All runs that the lane's engine executed, oldest first, including runs outside the lane's path."""
    fork: Run | None = None
    """The last run that a forked lane shares with the original lane; None if the lane was not forked."""
    id: str = field(default_factory=new_id)
    """A UUID of version 7."""

    @property
    def all_runs(self) -> tuple[Run, ...]:
        """The runs that a forked lane shares with the original lane, then the lane's own runs; oldest first."""
        return (*path_to(self.fork), *self.runs)


@dataclass(slots=True, kw_only=True)
class QueuedPrompt:
    text: str
    files: tuple[AttachedFile, ...] = ()
    images: tuple[Image, ...] = ()
    for_all: bool = True
    """Whether the prompt was sent to all lanes."""
    lanes: list[LaneRecord]
    prompt: Prompt | None = None
    """The prompt in the conversation; None until a lane has begun the prompt, after which `text` no longer changes."""
    kept_by: set[LaneRecord] = field(default_factory=set, compare=False)
    """The lanes that do not begin the prompt until the user sends it again, such as lanes that were stopped. Not saved."""

    @property
    def is_kept(self) -> bool:
        """Whether the prompt waits until the user sends it again: for at least one lane, or because all its lanes are
        closed."""
        return not self.lanes or bool(self.kept_by)


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftRecord:
    text: str
    """The text that the user wrote, with a mark for each text that was pasted and folded."""
    pasted: Mapping[str, str] = field(default_factory=dict)
    """The pasted texts by their marks."""
    named: tuple[str, ...] = ()
    """The paths of the files that the user mentioned."""
    edits: str = ""
    """The id of the earlier prompt of which this draft is a new version; empty for a new prompt."""

    def followed_by(self, later: DraftRecord) -> DraftRecord:
        """Return this draft with the text of another draft below it."""
        return replace(
            self,
            text="\n".join(filter(None, (self.text, later.text))),
            pasted={**self.pasted, **later.pasted},
            named=(*self.named, *later.named),
        )


NO_DRAFT = DraftRecord(text="")


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedConversation:
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
    """The 7 in `c7`, which users type."""
    title: str
    engines: tuple[str, ...]
    """Names of the engines of all open lanes, without duplicates, in the order of the lanes."""
    prompts: int
    updated: float
    """When the conversation was last used, in seconds since 1970; 0 if the record is damaged."""
    tags: tuple[str, ...] = ()
    is_pinned: bool = False
    is_interrupted: bool = False
    """Whether the last answer of a lane that is not closed was interrupted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    id: str
    """The id of the hit for commands: `c7` for a conversation, `e3/17` for an answer in an experiment."""
    conversation: int | None
    """The number of the conversation; None for an answer in an experiment."""
    title: str
    prompt_id: str | None
    """The prompt in the conversation; None for a title, and for an answer in an experiment."""
    run_id: str | None
    """The run whose answer was found; None if a prompt or a title was found, and for an answer in an experiment."""
    engine: str
    snippet: str
    """The text around the first match of a term, on one line."""
    marks: tuple[tuple[int, int], ...] = ()
    """Start and end index of each match in the snippet."""
    time: float
    """When the prompt was created, the run started, or the conversation of the title was used, in seconds since 1970."""

    @property
    def is_title(self) -> bool:
        """Whether the hit is a conversation's title, or a text that equals the title."""
        return self.conversation is not None and (self.prompt_id is None or self.snippet == self.title)
