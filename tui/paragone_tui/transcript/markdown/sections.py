"""Splits a Markdown text into sections: its blocks, with each list item as a section of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from markdown_it import MarkdownIt
from markdown_it.token import Token

from paragone_tui.terminal.text import visible
from paragone_tui.transcript.markdown.latex import keep_formulas

_LISTS = ("bullet_list_open", "ordered_list_open")


@dataclass(frozen=True, slots=True, kw_only=True)
class MarkdownSection:
    """A block of a Markdown text, or one item of a list."""

    line: int
    """Index of the section's first line in the text."""
    tokens: Sequence[Token]
    is_apart: bool
    """Whether a blank row separates the section from the section above."""
    number: int | None = None
    """The number of a list item, also in a list with bullets; None for other blocks."""


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("strikethrough").enable("table")
    keep_formulas(parser)
    return parser


def sections_of(text: str, number: int | None = None) -> list[MarkdownSection]:
    """Return the sections of a text that is safe to print. `number` replaces the number of an item that begins the text."""
    tokens = _parser().parse(text)
    _make_plain(tokens)
    lines = text.split("\n")
    sections: list[MarkdownSection] = []
    for block in _blocks(tokens):
        if block[0].type in _LISTS:
            sections += _items(block, lines, None if sections else number)
        else:
            sections.append(MarkdownSection(line=_line(block), tokens=block, is_apart=True))
    return sections


def _line(block: Sequence[Token]) -> int:
    return block[0].map[0] if block[0].map else 0


def _blocks(tokens: Iterable[Token]) -> Iterator[list[Token]]:
    """Yield for each block its tokens, including the tokens of the blocks inside it."""
    block: list[Token] = []
    depth = 0
    for token in tokens:
        block.append(token)
        depth += token.nesting
        if not depth:
            yield block
            block = []


def _items(block: list[Token], lines: Sequence[str], first: int | None) -> Iterator[MarkdownSection]:
    """Yield each list item as a list of its own, apart from the item above if a blank line separates them in the text."""
    if first is None:
        first = int(block[0].attrs.get("start", 1))
    for at, item in enumerate(_blocks(block[1:-1])):
        opening = block[0].copy(attrs={"start": first + at})
        line = _line(item)
        is_apart = not at or not lines[line - 1].strip()
        yield MarkdownSection(
            line=line, tokens=[opening, *item, block[-1]], is_apart=is_apart, number=first + at
        )


def _make_plain(tokens: Iterable[Token]) -> None:
    """Make the tokens' text safe to print, since entities can add characters; keep line ends; show images as alt text."""
    for token in tokens:
        token.content = visible(token.content)
        for key, value in token.attrs.items():
            if isinstance(value, str):
                token.attrs[key] = visible(value).replace("\n", " ")
        if token.type == "softbreak":
            token.type = "hardbreak"
        elif token.type == "image":
            token.type, token.tag, token.children = "text", "", None
        if token.children:
            _make_plain(token.children)
