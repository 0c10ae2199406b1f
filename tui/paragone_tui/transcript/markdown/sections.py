"""The sections of a Markdown text: its blocks one below the other, and each item of its lists."""

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
    """A block of a text, or an item of a list."""

    line: int
    """The line that it begins in."""
    tokens: Sequence[Token]
    is_apart: bool
    """Whether a blank row stands above it, unless it is the first."""
    number: int | None = None
    """The number of an item of a list, which is not shown if the list has bullets; None of other blocks."""


@lru_cache(maxsize=1)
def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False}).enable("strikethrough").enable("table")
    keep_formulas(parser)
    return parser


def sections_of(text: str, number: int | None = None) -> list[MarkdownSection]:
    """Return the sections of a text, which is safe to print. If it begins with an item of a list, that has this number."""
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
    """Yield the tokens of each block and of the blocks inside."""
    block: list[Token] = []
    depth = 0
    for token in tokens:
        block.append(token)
        depth += token.nesting
        if not depth:
            yield block
            block = []


def _items(block: list[Token], lines: Sequence[str], first: int | None) -> Iterator[MarkdownSection]:
    """Yield each item as a list of its own. A blank row stands above it if a blank line does in the text."""
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
    """Clean the text, which entities can add to; keep line ends, and show images as their alt text."""
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
