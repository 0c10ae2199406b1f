"""A Markdown text as rows. While the text grows, each complete section is typeset only once."""

from __future__ import annotations

import io
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from markdown_it.token import Token
from rich.console import Console, ConsoleOptions
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from paragone_tui.terminal.text import visible
from paragone_tui.transcript.markdown.code_block import complete_part
from paragone_tui.transcript.markdown.elements import Elements, theme
from paragone_tui.transcript.markdown.sections import MarkdownSection, sections_of
from paragone_tui.transcript.markdown.unfinished import presentable
from paragone_tui.transcript.marks import Layers, carried, clipped
from paragone_tui.transcript.palette import TranscriptStyles
from paragone_tui.transcript.part import GUTTER

_NARROWEST = 8
"""Smallest width of the rows in cells, without the gutter."""
_OPENING = re.compile(r"\s*^((?:```|~~~)[^\n]*\n)", re.MULTILINE)
"""The line that opens a block of code, with blank lines above."""


class NotWanted(Exception):
    """Nobody wants the rows any longer, for example because the width has changed."""


@dataclass(slots=True)
class _Typeset:
    """A typeset section, from character `start` of the whole text up to `end`."""

    start: int
    end: int
    source: str
    rows: Sequence[Strip]
    layers: Layers = ()
    marked: Sequence[Strip] = ()
    """The rows with the marks `layers`."""

    def strips(self, layers: Layers, palette: TranscriptStyles) -> Sequence[Strip]:
        """Return the rows with those marks of the whole text that are in this section."""
        ours = clipped(layers, self.start, self.end)
        if not any(ours):
            return self.rows
        if ours != self.layers:
            self.layers = ours
            self.marked = carried(ours, self.source, self.rows, GUTTER, palette)
        return self.marked


class TypesetText:
    """Markdown as rows of at most `width` cells, gutter included.

    HTML and Rich's console markup remain plain text, and links do not become hyperlinks.
    """

    def __init__(self, width: int, palette: TranscriptStyles) -> None:
        self.width = width
        self.palette = palette
        self.is_complete = False
        """Whether the text has ended, and its rows equal the rows of the same text typeset as a whole."""
        self.rows: list[Strip] = []
        """The rows, without marks."""
        self.rest = ""
        """The end of the text, whose look further text can still change."""
        self._console = _console(width, palette)
        self._start = 0
        """Position of the rest in the text, in characters."""
        self._fence = ""
        """The first line of a block of code that continues in the rest; empty if there is no such block."""
        self._is_apart = False
        """Whether a blank row separates the rest from the sections before it."""
        self._number: int | None = None
        """The number of the list item that begins the rest; None if the rest begins with no list item."""
        self._defines = False
        """Whether the text may define the targets of links in earlier sections."""
        self._sections: list[_Typeset] = []
        self._kept = 0
        """Number of sections before the rest."""
        self._tops: list[int] = []
        """Index of the first row of each section."""
        self._drawn: list[tuple[Sequence[Token], Sequence[Strip]]] = []
        """The rest's sections at the last typesetting, with their rows. New text mostly changes only the last section."""

    def append(self, text: str) -> None:
        """Append text that is safe to print. `typeset` then typesets the appended text."""
        self.rest += text
        self._defines = self._defines or "]:" in text

    def typeset(self, *, ended: bool, is_wanted: Callable[[], bool] = lambda: True) -> None:
        """Typeset the appended text. `ended` is whether no more text comes.

        Raises NotWanted if `is_wanted` returns False between two sections.
        """
        self._drop_rest()
        text = self._fence + self.rest
        sections = sections_of(text if ended else presentable(text), self._number)
        starts = self._starts(text, sections)
        before, self._drawn = self._drawn, []
        for number, section in enumerate(sections):
            if not is_wanted():
                raise NotWanted
            tokens, rows = before[number] if number < len(before) else ((), ())
            if tokens != section.tokens:
                rows = _rendered(section.tokens, self._console, self.palette)
            self._drawn.append((section.tokens, rows))
            gap = section.is_apart if number else self._is_apart
            self._add(rows, *starts[number : number + 2], gap=gap)
        self.is_complete = ended and not (self._kept and self._defines)
        if not ended:
            self._keep(sections, starts)

    def strip(self, row: int, layers: Layers) -> Strip:
        """Return a row with its marks."""
        if not any(layers):
            return self.rows[row]
        at = bisect_right(self._tops, row) - 1
        return self._sections[at].strips(layers, self.palette)[row - self._tops[at]]

    def _drop_rest(self) -> None:
        if self._kept < len(self._sections):
            del self.rows[self._tops[self._kept] :]
            del self._sections[self._kept :], self._tops[self._kept :]

    def _starts(self, text: str, sections: Sequence[MarkdownSection]) -> list[int]:
        """Return the positions in the rest at which its sections begin, and the position of its end."""
        ends = [0, *accumulate(len(line) + 1 for line in text.split("\n"))]
        starts = [max(0, ends[section.line] - len(self._fence)) for section in sections]
        return [0, *starts[1:], len(self.rest)] if starts else []

    def _add(self, rows: Sequence[Strip], start: int, end: int, *, gap: bool) -> None:
        if gap and rows:
            rows = [Strip([]), *rows]
        source = self.rest[start:end]
        self._sections.append(_Typeset(self._start + start, self._start + end, source, rows))
        self._tops.append(len(self.rows))
        self.rows += rows

    def _keep(self, sections: Sequence[MarkdownSection], starts: Sequence[int]) -> None:
        """Keep the sections that look the same whatever text follows."""
        last = len(sections) - 1
        if last > 0 and sections[last].line >= (self._fence + self.rest).count("\n"):
            last -= 1  # a line that is not complete may turn out to belong to the previous section
        if last > 0:
            self._kept += last
            self._fence = ""
            self._cut(starts[last])
            self._is_apart, self._number = sections[last].is_apart, sections[last].number
        elif last == 0 and sections[0].tokens[0].type == "fence":
            self._keep_code(sections[0].tokens[0])

    def _keep_code(self, fence: Token) -> None:
        """Keep the part of a long block of code that looks the same whatever code follows."""
        opening = _OPENING.match(self.rest) if not self._fence else None
        begin = opening.end() if opening else 0
        if not self._fence and not begin:
            return
        end = complete_part(self.rest[begin:], fence.info.partition(" ")[0])
        if not end:
            return
        self._drop_rest()
        token = fence.copy(content=self.rest[begin : begin + end])
        self._add(_rendered([token], self._console, self.palette), 0, begin + end, gap=self._is_apart)
        self._kept += 1
        self._fence = opening[1] if opening else self._fence
        self._cut(begin + end)
        self._is_apart = False
        self.typeset(ended=False)

    def _cut(self, end: int) -> None:
        self._start += end
        self.rest = self.rest[end:]


def typeset(
    text: str, width: int, palette: TranscriptStyles, is_wanted: Callable[[], bool] = lambda: True
) -> TypesetText:
    whole = TypesetText(width, palette)
    whole.append(visible(text))
    whole.typeset(ended=True, is_wanted=is_wanted)
    return whole


class _Console(Console):
    """A console with a fixed size and encoding, which Rich's own class reads from the environment for each text."""

    @cached_property
    def options(self) -> ConsoleOptions:
        return super().options


def _console(width: int, palette: TranscriptStyles) -> Console:
    return _Console(
        file=io.StringIO(),
        width=max(width - GUTTER, _NARROWEST),
        color_system="truecolor",
        force_terminal=True,
        legacy_windows=False,
        markup=False,
        emoji=False,
        highlight=False,
        theme=theme(palette),
    )


def _rendered(tokens: Sequence[Token], console: Console, palette: TranscriptStyles) -> list[Strip]:
    """Return the rows of a section, without blank rows at its beginning and end."""
    base = palette["answer"]
    gutter = Segment(" " * GUTTER, base)
    lines = console.render_lines(Elements(tokens, palette), pad=False)
    strips = [Strip(_trimmed([gutter, *_plain(line, base)], base)) for line in lines]
    while strips and not strips[-1]:
        strips.pop()
    while strips and not strips[0]:
        strips.pop(0)
    return strips


def _plain(line: Iterable[Segment], base: Style) -> Iterable[Segment]:
    for text, style, control in line:
        if not control and text:
            yield Segment(text, base + style if style else base)


def _trimmed(line: list[Segment], base: Style) -> list[Segment]:
    """Return a line without the invisible blanks at its end."""
    while line and not line[-1].text.strip(" ") and line[-1].style and line[-1].style.bgcolor == base.bgcolor:
        line.pop()
    return list(Segment.simplify(line))
