"""Votes: which of several answers to one prompt a person preferred, and the style of these answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["VotedAnswer", "Choice", "Style", "Vote", "style_of"]

Choice: TypeAlias = int | Literal["tie", "bad"]
"""The index of the best candidate; `tie`: equally good; `bad`: both (or all) bad."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Style:
    """What an answer looks like, apart from what it says. See `style_of`.

    Attributes:
        tokens: Length of the answer in tokens of its own model.
        headers: Number of headings.
        lists: Number of list items.
        bold: Number of passages in bold.
    """

    tokens: int
    headers: int = 0
    lists: int = 0
    bold: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VotedAnswer:
    """An answer that was voted on.

    Attributes:
        engine: Name of the engine, by which ratings are made.
        backend: The engine's backend.
        model: The engine's model.
        run: The id of the run, a UUID.
        style: The style of the answer.
    """

    engine: str
    backend: str
    model: str
    run: str
    style: Style


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    """A person's judgement about two or more answers to one prompt.

    Attributes:
        candidates: The answers in the order in which they were shown, from left to right.
        choice: The index of the best candidate, or `tie`, or `bad`.
        blind: Whether the engines' names were hidden.
        created: When the vote was cast, in seconds since 1970.
    """

    candidates: tuple[VotedAnswer, ...]
    choice: Choice
    blind: bool
    created: float

    def __post_init__(self) -> None:
        if len(self.candidates) < 2:
            raise ValueError("a vote needs two candidates or more")
        if isinstance(self.choice, int) and not 0 <= self.choice < len(self.candidates):
            raise ValueError(
                f"a vote over {len(self.candidates)} candidates cannot have the choice {self.choice}"
            )


def style_of(text: str, tokens: int) -> Style:
    """Return the style of an answer, which has `tokens` tokens.

    Headings, list items and passages in bold are counted as Markdown (CommonMark) defines them, so those in
    code are not.
    """
    from markdown_it import MarkdownIt  # late: only votes need it

    blocks = MarkdownIt("commonmark").parse(text)
    inline = [token.type for block in blocks for token in block.children or ()]
    types = [block.type for block in blocks]
    return Style(
        tokens=tokens,
        headers=types.count("heading_open"),
        lists=types.count("list_item_open"),
        bold=inline.count("strong_open"),
    )
