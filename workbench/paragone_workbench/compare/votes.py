"""Votes: which of several answers to one prompt a person preferred, and the style of these answers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from paragone import ParagoneError
from paragone.wire import from_json
from paragone_workbench.store.experiment_records import SavedVote

VoteChoice: TypeAlias = int | Literal["tie", "bad"]
"""The index of the best candidate, `tie` if all are equally good, or `bad` if all are bad."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """The form of an answer, apart from its content. See `style_of`."""

    tokens: int
    """Length of the answer in tokens of its own model."""
    headers: int = 0
    """Number of headings."""
    lists: int = 0
    """Number of list items."""
    bold: int = 0
    """Number of passages in bold."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VotedAnswer:
    """An answer that was voted on."""

    engine: str
    """Name of the engine. Ratings take engines with the same name for one engine."""
    backend: str
    model: str
    run: str
    """The id of the run, a UUID."""
    style: Style


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """A person's judgement about two or more answers to one prompt."""

    candidates: tuple[VotedAnswer, ...]
    """The answers in the order in which they were shown, from left to right."""
    choice: VoteChoice
    blind: bool
    """Whether the engines' names were hidden."""
    created: float
    """When the vote was cast, in seconds since 1970."""

    def __post_init__(self) -> None:
        if len(self.candidates) < 2:
            raise ValueError("a vote needs two candidates or more")
        if isinstance(self.choice, int) and not 0 <= self.choice < len(self.candidates):
            raise ValueError(
                f"a vote over {len(self.candidates)} candidates cannot have the choice {self.choice}"
            )


def style_of(text: str, tokens: int) -> Style:
    """Return the style of an answer, which has `tokens` tokens.

    Headings, list items and passages in bold are counted as in Markdown (CommonMark), so that those in code
    are left out.
    """
    from markdown_it import MarkdownIt  # imported late: only votes need this package

    blocks = MarkdownIt("commonmark").parse(text)
    inline = [token.type for block in blocks for token in block.children or ()]
    types = [block.type for block in blocks]
    return Style(
        tokens=tokens,
        headers=types.count("heading_open"),
        lists=types.count("list_item_open"),
        bold=inline.count("strong_open"),
    )


def votes_from(saved: Iterable[SavedVote]) -> tuple[Vote, ...]:
    """Return votes of the history. Raises ParagoneError if a vote cannot be read."""
    return tuple(map(_vote, saved))


def _vote(saved: SavedVote) -> Vote:
    try:
        return Vote(
            candidates=tuple(from_json(VotedAnswer, candidate) for candidate in saved.candidates),
            choice=_choice(saved.choice),
            blind=saved.blind,
            created=saved.created,
        )
    except (TypeError, ValueError) as error:
        raise ParagoneError(f"Vote {saved.id} of the history cannot be understood: {error}.") from error


def _choice(text: str) -> VoteChoice:
    match text:
        case "tie" | "bad":
            return text
        case _:
            return int(text)
