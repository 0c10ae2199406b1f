"""A part of a block: a text in one tone, wrapped into rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import accumulate, islice

from rich.segment import Segment
from textual.strip import Strip

from paragone_tui.transcript.marks import Layers, Mark, marks_between, restyled
from paragone_tui.transcript.palette import Tone, TranscriptStyles
from paragone_tui.transcript.wrap import Wrapped
from paragone_workbench.growing_text import GrowingText

GUTTER = 2
"""Width in cells of the left margin of every row: a mark for the tone, and a space."""

SLICE = 10_000
"""Number of characters that are wrapped while the screen waits: 15 ms of work, or 50 ms with many combining marks.

The unit of `room` in `wrap` is one character that is not ASCII, or `_ASCII` characters of ASCII.
"""
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
        """The whole text, wrapped or not."""
        return "".join((*self._wrapped.rows, str(self._rest)))

    def __bool__(self) -> bool:
        """Whether there is any text."""
        return bool(self._wrapped.rows) or self.is_pending

    @property
    def is_pending(self) -> bool:
        """Whether some text is not wrapped yet."""
        return bool(self._rest)

    def append(self, text: str) -> None:
        """Append text. The text is wrapped now if it is short and the text before it is wrapped."""
        if self._width and len(text) <= _SHORT and not self.is_pending:
            self._wrap(text)
        else:
            self._rest.append(text)

    def hold(self, text: str) -> None:
        """Append text without wrapping it."""
        self._rest.append(text)

    def set_text(self, text: str) -> None:
        """Replace the text with another short text."""
        self._restart(text)
        if self._width:
            self.wrap(SLICE)

    def cut(self, characters: int) -> None:
        """Remove this number of characters from the beginning. The other rows are not wrapped again."""
        waiting = max(0, characters - (len(self.text) - len(self._rest)))
        self._wrapped.cut(characters - waiting)
        self._rest.cut(waiting)
        self._strips.clear()
        self._starts = [0]

    def lay_out(self, width: int) -> None:
        """Prepare for `wrap` to wrap the text to this number of cells."""
        if self._width != width:
            self._width = width
            self._restart(self.text)

    def wrap(self, room: int) -> int:
        """Wrap up to `room` more units of text, and return the units that are left; see `SLICE` for the unit."""
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
        """Discard the styled rows."""
        self._strips.clear()

    @property
    def texts(self) -> Iterable[str]:
        return islice(self._wrapped.rows, self.height)

    @property
    def height(self) -> int:
        """Number of rows of the wrapped text."""
        rows = self._wrapped.rows
        return len(rows) - (not rows[-1]) if rows else 0

    def strip(self, row: int, palette: TranscriptStyles) -> Strip:
        """Return the row with this index in the text, from 0 to `height` - 1."""
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
        return marks_between(self.layers, starts[row], starts[row] + len(rows[row].rstrip()))


def styled_row(
    sign: str | None, text: str, tone: Tone, palette: TranscriptStyles, marks: Sequence[Mark] = ()
) -> Strip:
    """Return a styled row: the margin with the sign, and the text with the marks."""
    if marks:
        margin = Segment(sign or " " * GUTTER, palette[f"{tone}-mark" if sign else tone])
        return Strip([margin, *restyled([Segment(text, palette[tone])], marks, palette)])
    if sign is None:
        return Strip([Segment(" " * GUTTER + text, palette[tone])])
    return Strip([Segment(sign, palette[f"{tone}-mark"]), Segment(text, palette[tone])])
