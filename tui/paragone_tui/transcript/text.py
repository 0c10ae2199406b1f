"""Texts of a transcript: word wrap by cell width, marks on parts of a text, and parts of a block as rows."""

import itertools
import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, islice, takewhile
from math import exp
from operator import attrgetter
from typing import Literal, NamedTuple, TypeAlias

from rich.cells import cell_len, split_graphemes
from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip
from textual.widget import Widget

from paragone_tui.terminal.cells import Look, styles_of
from paragone_workbench.text import GrowingText

Tone: TypeAlias = Literal["prompt", "turn", "thinking", "answer", "note", "caution", "error", "log", "hint"]
TranscriptStyles: TypeAlias = Mapping[str, Style]
"""Styles by name: each tone (`turn` is the prompt of the selected turn), the sign beside the tone's text (`prompt-mark`),
`accent`, `code` and `more`. Marks add the styles `differs`, `shares`, `diverges` and the bands of probability
(`heat-likely` …) to the style of the text."""
_ACCENT = Look("primary", "bright_blue")
_QUIET = Look("text-muted", "dim")
_WARNING = Look("text-warning", "magenta")
_ERROR = Look("text-error", "red")
_LOOKS: Mapping[str, Look] = {
    "answer": Look(),
    "prompt": Look(attributes="bold"),
    "prompt-mark": _ACCENT,
    "turn": Look("primary", "blue", "bold"),
    "turn-mark": _ACCENT,
    "thinking": _QUIET,
    "thinking-mark": _QUIET,
    "note": _QUIET,
    "note-mark": _QUIET,
    "caution": _WARNING,
    "caution-mark": _WARNING,
    "error": _ERROR,
    "error-mark": _ERROR,
    "log": _QUIET,
    "log-mark": _ERROR,
    "hint": Look(),
    "hint-mark": _ACCENT,
    "code": Look("text-secondary", "magenta"),
    "code-block": Look(ground="surface"),
    "code-comment": Look("text-muted", "dim", "italic", ground="surface"),
    "code-keyword": Look("text-primary", "bright_blue", ground="surface"),
    "code-name": Look("text-secondary", "magenta", ground="surface"),
    "code-number": Look("text-warning", "magenta", ground="surface"),
    "code-string": Look("text-success", "green", ground="surface"),
    "accent": _ACCENT,
    "more": _ACCENT,
    "differs": Look("text-warning", "", "underline", adds=True),
    "shares": Look(attributes="underline", adds=True),
    "diverges": Look(attributes="reverse bold", adds=True),
    "heat-likely": Look("text-success", "green", "italic", adds=True),
    "heat-unsure": Look("text-warning", "magenta", "bold", adds=True),
    "heat-unlikely": Look("text-error", "red", "reverse", adds=True),
}
_BANDS = ((0.9, ""), (0.5, "heat-likely"), (0.1, "heat-unsure"), (0.0, "heat-unlikely"))
"""The bands of probability by which tokens are coloured: the lowest probability of a band, and the band's look."""


def heat_look(logprob: float) -> str:
    """Return the look of a token with this log-probability; empty for a token that was almost certain."""
    return next(look for least, look in _BANDS if exp(logprob) >= least)


def palette_of(transcript: Widget) -> TranscriptStyles:
    return styles_of(transcript, _LOOKS)


LONGEST = 10_000
"""Largest effort of an answer that is typeset: about a second of work, in the background."""
AT_ONCE = 400
"""Largest effort of typesetting while the screen waits: at most 40 ms of work."""

_MARKUP = "\n*_`~[]()|<>&\\!#"
"""The signs of a line, a table cell, an emphasis or a link: each is a token of Markdown, which takes up to 0.1 ms."""
CHARACTERS = 20
"""Number of characters of plain text that take up to 0.1 ms, as long as one token."""


def wrapping_effort(text: str) -> int:
    return len(text) // CHARACTERS + sum(map(text.count, _MARKUP))


_SPACES = re.compile(" *")
_DENSEST = 8
"""Largest average number of characters per cell of a row. Combining marks, and spaces at the end of a row, raise the number
above 1. Longer rows would make appending text slow."""
_SLICE = 1_024
"""Number of characters that are wrapped in one step. After a row of `longest` characters, the rest of the line is
split into graphemes again."""
_CLOSING = frozenset("、。，．！？：；）」』】》〉…‥・ー々,.!?:;)]}%'\"’”")


class Wrapped:
    """Text wrapped into rows of at most `width` cells. The joined rows are the text: paint `row.rstrip()`, since spaces
    at a break and newlines stay at the end. Long words and runs of combining marks are split, so that no row has more
    than `longest` characters."""

    def __init__(self, width: int, text: str = "") -> None:
        self.width = max(width, 2)  # a wide character must fit somewhere
        self.longest = _DENSEST * self.width
        self.rows: list[str] = []
        self.append(text)

    def append(self, text: str) -> int:
        first = max(0, len(self.rows) - 1) if text else len(self.rows)
        for start in range(0, len(text), _SLICE):
            self._append(text[start : start + _SLICE])
        return first

    def _append(self, text: str) -> None:
        # With greedy wrapping, only the last row can change.
        tail = self.rows.pop() if self.rows else ""
        *lines, last = (tail + text).split("\n")
        for line in lines:
            self._break(line)
            self.rows[-1] += "\n"
        self._break(last)

    def _break(self, line: str) -> None:
        if len(line) <= self.width and line.isascii():
            self.rows.append(line)
        elif line.isascii() and cell_len(line) == len(line):
            self._break_narrow(line)
        else:
            self._break_wide(line)

    def _break_narrow(self, line: str) -> None:
        width, start = self.width, 0
        while len(line) - start > width:
            space = line.rfind(" ", start, start + width + 1)
            if space < 0:
                end = start + width
            else:
                most = start + self.longest
                end = _end_of_spaces(line, space, most)
                indent = _end_of_spaces(line, start, most)
                if indent > space:  # only indentation before the word: split the word
                    end = max(indent, start + width)
            if end >= len(line):
                break
            self.rows.append(line[start:end])
            start = end
        self.rows.append(line[start:])

    def _break_wide(self, line: str) -> None:
        while cut := self._break_until_too_long(line):
            line = line[cut:]

    def _break_until_too_long(self, line: str) -> int:
        """Wrap up to the first row of `longest` characters, and return its end; 0 if all rows are shorter."""
        width, start, filled = self.width, 0, 0
        at, filled_at = 0, 0  # the last possible break, and the cells before it
        before, width_before, inked = "", 0, False
        for begin, end, cells in split_graphemes(line)[0]:
            character = line[begin:end]
            if character != " ":
                beside_wide = 2 in (cells, width_before) and character[0] not in _CLOSING
                if inked and (before == " " or beside_wide):
                    at, filled_at = begin, filled
                while filled + cells > width and begin > start:
                    if at <= start:
                        at, filled_at = begin, filled
                    self.rows.append(line[start:at])
                    start, filled = at, filled - filled_at
                inked = True
            if end - start > self.longest:
                cut = begin if begin > start else start + self.longest
                self.rows.append(line[start:cut])
                return cut
            filled += cells
            before, width_before = character, cells
        self.rows.append(line[start:])
        return 0


def _end_of_spaces(line: str, start: int, most: int) -> int:
    match = _SPACES.match(line, start, most)
    assert match is not None  # the pattern also matches an empty string
    return match.end()


class Mark(NamedTuple):
    start: int
    end: int
    look: str


Layers: TypeAlias = tuple[tuple[Mark, ...], ...]
"""Marks in layers, the lowest first. The marks of a layer are in order and do not overlap."""

_end = attrgetter("end")
_start = attrgetter("start")


def marks_between(layers: Layers, start: int, end: int) -> Layers:
    """Return the layers of marks between two characters of the text. Positions are counted from `start`."""
    return tuple(
        tuple(
            Mark(max(mark.start, start) - start, min(mark.end, end) - start, mark.look)
            for mark in takewhile(
                lambda mark: mark.start < end, layer[bisect_right(layer, start, key=_end) :]
            )
        )
        for layer in layers
    )


def moved_marks(layers: Layers, move: Callable[[Sequence[int]], Mapping[int, int]]) -> Layers:
    """Return the layers at new positions. `move` maps the old positions, in ascending order, to the new positions."""
    to = move(sorted({at for layer in layers for mark in layer for at in mark[:2]}))
    return tuple(tuple(Mark(to[start], to[end], look) for start, end, look in layer) for layer in layers)


def with_marks(
    segments: Iterable[Segment], marks: Sequence[Mark], palette: TranscriptStyles
) -> Iterator[Segment]:
    edges = sorted({at for mark in marks for at in mark[:2]})
    begin = 0
    for text, style, _ in segments:
        end = begin + len(text)
        cuts = [begin, *edges[bisect_right(edges, begin) : bisect_left(edges, end)], end]
        for start, stop in itertools.pairwise(cuts):
            looks = (palette[mark.look] for mark in marks if mark.start <= start < mark.end)
            yield Segment(text[start - begin : stop - begin], sum(looks, style or Style()))
        begin = end


def with_marks_of_source(
    layers: Layers, source: str, rows: Sequence[Strip], margin: int, palette: TranscriptStyles
) -> tuple[Strip, ...]:
    """Return typeset rows with the marks of their source: the marked words are searched in the rows. `margin` is in
    characters."""
    from paragone_workbench.compare.diff import common_words, words

    ours = words(source)
    placed = [(row, word) for row, strip in enumerate(rows) for word in words(strip.text, margin)]
    pairs = common_words([word.text for word in ours], [word.text for _, word in placed])
    place = {one: placed[other] for one, other in pairs}
    on_row: dict[int, list[Mark]] = {}
    for layer in layers:
        for mark in layer:
            parts: dict[int, list[int]] = {}
            for at in range(
                bisect_right(ours, mark.start, key=_end), bisect_left(ours, mark.end, key=_start)
            ):
                if at in place:
                    row, word = place[at]
                    shift = word.start - ours[at].start
                    parts.setdefault(row, []).extend(
                        (max(mark.start, ours[at].start) + shift, min(mark.end, ours[at].end) + shift)
                    )
            for row, edges in parts.items():
                on_row.setdefault(row, []).append(Mark(min(edges), max(edges), mark.look))
    return tuple(
        Strip(with_marks(strip, on_row[row], palette)) if row in on_row else strip
        for row, strip in enumerate(rows)
    )


GUTTER = 2
"""Width in cells of the left margin of every row: a mark for the tone, and a space."""

SLICE = 10_000
"""Number of characters that are wrapped while the screen waits: 15 ms of work, or 50 ms with many combining marks. The
unit of `room` in `wrap` is one character that is not ASCII, or `_ASCII` characters of ASCII."""
_ASCII = 8
"""Number of ASCII characters that take as long to wrap as one other character."""
_SHORT = 4_096
"""Number of characters that are wrapped at a time."""
_STRIPS = 400
"""Number of rows whose styled text is kept: a few screens."""

_SIGNS: Mapping[Tone, str] = {
    "prompt": "▎ ",
    "turn": "▶ ",
    "thinking": "┊ ",
    "note": "· ",
    "caution": "! ",
    "error": "✗ ",
    "log": "│ ",
    "hint": "→ ",
}
_SIGNED_ALL_DOWN: frozenset[Tone] = frozenset({"prompt", "turn", "thinking", "log"})


class BlockPart:
    """A growing text and its rows. A long text is wrapped in slices, so that the screen can react between two slices."""

    def __init__(self, tone: Tone, text: str = "") -> None:
        self._tone = tone
        self._width = 0
        self._wrapped = Wrapped(0)
        self._rest = GrowingText(text)
        """The text that is not wrapped yet, and follows the text of the rows."""
        self._strips: dict[int, tuple[tuple[Mark, ...], Strip]] = {}
        self._starts = [0]
        """Index of the first character of each row, down to the last row whose marks were computed."""
        self.layers: Layers = ()

    @property
    def text(self) -> str:
        return "".join((*self._wrapped.rows, str(self._rest)))

    def __bool__(self) -> bool:
        return bool(self._wrapped.rows) or self.is_pending

    @property
    def is_pending(self) -> bool:
        return bool(self._rest)

    def append(self, text: str) -> None:
        """Append text. The text is wrapped now if it is short and the text before it is wrapped."""
        if self._width and len(text) <= _SHORT and not self.is_pending:
            self._wrap(text)
        else:
            self._rest.append(text)

    def hold(self, text: str) -> None:
        self._rest.append(text)

    def set_text(self, text: str) -> None:
        self._restart(text)
        if self._width:
            self.wrap(SLICE)

    def lay_out(self, width: int) -> None:
        if self._width != width:
            self._width = width
            self._restart(self.text)

    def wrap(self, room: int) -> int:
        rest, at = str(self._rest), 0
        while at < len(rest) and room > 0:
            text = rest[at : at + _SHORT]
            self._wrap(text)
            at += len(text)
            room -= len(text) // _ASCII + 1 if text.isascii() else len(text)
        if at:
            self._rest = GrowingText(rest[at:])
        return room

    def _wrap(self, text: str) -> None:
        rows = len(self._wrapped.rows)
        first = self._wrapped.append(text)
        for row in range(first, rows):
            self._strips.pop(row, None)
        del self._starts[first + 1 :]

    def _restart(self, text: str) -> None:
        self._rest = GrowingText(text)
        self._wrapped = Wrapped(self._width)
        self._strips.clear()
        self._starts = [0]

    def set_tone(self, tone: Tone) -> None:
        self._tone = tone
        self._strips.clear()

    def repaint(self) -> None:
        self._strips.clear()

    @property
    def texts(self) -> Iterable[str]:
        return islice(self._wrapped.rows, self.height)

    @property
    def height(self) -> int:
        rows = self._wrapped.rows
        return len(rows) - (not rows[-1]) if rows else 0

    def strip(self, row: int, palette: TranscriptStyles) -> Strip:
        marks = self._marks(row) if self.layers else ()
        known, strip = self._strips.get(row, (None, None))
        if strip is None or known != marks:
            text = self._wrapped.rows[row].rstrip()
            signed = row == 0 or self._tone in _SIGNED_ALL_DOWN
            strip = styled_row(_SIGNS.get(self._tone) if signed else None, text, self._tone, palette, marks)
            if len(self._strips) >= _STRIPS:
                self._strips.clear()
            self._strips[row] = marks, strip
        return strip

    def _marks(self, row: int) -> tuple[Mark, ...]:
        rows, starts = self._wrapped.rows, self._starts
        if len(starts) <= row:
            starts += islice(accumulate(map(len, rows[len(starts) - 1 : row]), initial=starts[-1]), 1, None)
        return tuple(
            chain.from_iterable(
                marks_between(self.layers, starts[row], starts[row] + len(rows[row].rstrip()))
            )
        )


def styled_row(
    sign: str | None, text: str, tone: Tone, palette: TranscriptStyles, marks: Sequence[Mark] = ()
) -> Strip:
    if marks:
        margin = Segment(sign or " " * GUTTER, palette[f"{tone}-mark" if sign else tone])
        return Strip([margin, *with_marks([Segment(text, palette[tone])], marks, palette)])
    if sign is None:
        return Strip([Segment(" " * GUTTER + text, palette[tone])])
    return Strip([Segment(sign, palette[f"{tone}-mark"]), Segment(text, palette[tone])])
