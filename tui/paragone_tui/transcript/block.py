"""The blocks of a transcript, each with its text and its rows at the current width."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import accumulate, chain, islice
from typing import Literal, TypeAlias

from rich.segment import Segment
from textual.strip import Strip

from paragone.wording import counted
from paragone_tui.terminal.text import visible
from paragone_tui.transcript.marks import Layers, Mark, carried, marks_between, moved, restyled
from paragone_tui.transcript.palette import Palette, Tone
from paragone_tui.transcript.wrap import Wrapped

Kind: TypeAlias = Literal["prompt", "thinking", "answer", "note", "caution", "error"]

GUTTER = 2
"""Width in cells of the left margin of every row: a mark for the tone, and a space."""

_SIGNS: Mapping[Tone, str] = {
    "prompt": "▎ ",
    "thinking": "┊ ",
    "note": "· ",
    "caution": "! ",
    "error": "✗ ",
    "log": "│ ",
    "hint": "→ ",
}
_SIGNED_ALL_DOWN: frozenset[Tone] = frozenset({"prompt", "thinking", "log"})
_WORD = re.compile(r"\S+")


class _Part:
    """Text in one tone, wrapped into rows."""

    def __init__(self, tone: Tone, text: str = "") -> None:
        self.tone = tone
        self._pieces = [text] if text else []
        self._wrapped = Wrapped(80)
        self._stale = bool(text)
        self._strips: dict[int, tuple[tuple[Mark, ...], Strip]] = {}
        self._starts = [0]
        """Index of the first character of each row; only of the rows that were marked so far, and those above."""
        self.layers: Layers = ()

    @property
    def text(self) -> str:
        return "".join(self._pieces)

    def __bool__(self) -> bool:
        return bool(self._pieces)

    def append(self, text: str) -> None:
        self._pieces.append(text)
        if self._stale:
            return
        rows = len(self._wrapped.rows)
        first = self._wrapped.append(text)
        for row in range(first, rows):
            self._strips.pop(row, None)
        del self._starts[first + 1 :]

    def lay_out(self, width: int) -> None:
        if self._stale or self._wrapped.width != width:
            self._wrapped = Wrapped(width, "".join(self._pieces))
            self._stale = False
            self._strips.clear()
            self._starts = [0]

    def repaint(self) -> None:
        self._strips.clear()

    @property
    def texts(self) -> Iterable[str]:
        return islice(self._wrapped.rows, self.height)

    @property
    def height(self) -> int:
        rows = self._wrapped.rows
        return len(rows) - (not rows[-1]) if rows else 0

    def strip(self, row: int, palette: Palette) -> Strip:
        marks = self._marks(row) if self.layers else ()
        known, strip = self._strips.get(row, (None, None))
        if strip is None or known != marks:
            text = self._wrapped.rows[row].rstrip()
            signed = row == 0 or self.tone in _SIGNED_ALL_DOWN
            strip = _strip(_SIGNS.get(self.tone) if signed else None, text, self.tone, palette, marks)
            self._strips[row] = marks, strip
        return strip

    def _marks(self, row: int) -> tuple[Mark, ...]:
        rows, starts = self._wrapped.rows, self._starts
        if len(starts) <= row:
            starts += islice(accumulate(map(len, rows[len(starts) - 1 : row]), initial=starts[-1]), 1, None)
        return marks_between(self.layers, starts[row], starts[row] + len(rows[row].rstrip()))


class Block:
    """An entry of a transcript: a prompt, an answer, a note.

    `text` is the original text; what is painted has been made safe to print. The `hint` and the `log` lines are
    shown below the text. A log with `log_title` can be folded: then the title is shown instead.
    """

    def __init__(
        self,
        kind: Kind,
        *,
        hint: str = "",
        log: Sequence[str] = (),
        log_title: str = "",
        turn: object = None,
    ) -> None:
        self.kind: Kind = kind
        self.turn = turn
        """What identifies the turn that begins here, in all lanes; None if none begins."""
        self.finished = False
        """Whether the text is complete."""
        self.folded = False
        """Whether only one line with the number of words is shown."""
        self.start = 0
        """Index of the block's first row in the transcript."""
        self.lead = 0
        """Number of blank rows above that align the turn with those of other lanes."""
        self._typeset: tuple[Strip, ...] | None = None
        self._marked: tuple[Strip, ...] | None = None
        """The typeset rows with the marks; None while they are not needed."""
        self._layers: Layers = ()
        self._untypesettable = False
        self._raw: list[str] = []
        self._held = ""
        self._dropped = 0
        """Number of empty lines at the beginning, which are not shown."""
        self._is_exact = True
        """Whether `visible` changed no character, so that positions in the text are positions on the screen."""
        self._words = 0
        self._in_word = False
        self._width = 0
        self._head: tuple[str, Strip] | None = None
        self._body = _Part(kind)
        self.log_folded = False
        """Whether the log's title is shown instead of the log; without a title, the log is shown in any case."""
        self._hint = _Part("hint", visible(hint))
        self._log = _Part("log", "\n".join(visible(line).rstrip("\n") for line in log))
        self._log_title = _Part("log", log_title)

    @property
    def _parts(self) -> Iterator[_Part]:
        """The parts that are shown, from the top."""
        folded = self.log_folded and self._log_title
        return filter(None, (self._body, self._hint, self._log_title if folded else self._log))

    @property
    def text(self) -> str:
        """The original text."""
        if len(self._raw) > 1:
            self._raw = ["".join(self._raw)]
        return self._raw[0] if self._raw else ""

    def append(self, text: str) -> None:
        """Append a chunk of text."""
        self._raw.append(text)
        text = self._held + text
        # A CR LF may be split between two chunks.
        self._held = "\r" if text.endswith("\r") else ""
        text = text.removesuffix(self._held)
        shown = visible(text)
        self._is_exact = self._is_exact and shown == text
        self._take(shown)

    def set_hint(self, hint: str) -> None:
        """Show a hint below the text, instead of the one before; none if it is empty."""
        self._hint = _Part("hint", visible(hint))
        if self._width:
            self._hint.lay_out(max(self._width - GUTTER, 2))

    def finish(self) -> None:
        """Mark the text as complete."""
        self.finished = True
        held, self._held = self._held, ""
        self._take(visible(held))

    def _take(self, text: str) -> None:
        if not self._body:
            shown = text.lstrip("\n")  # models often start with empty lines
            self._dropped += len(text) - len(shown)
            text = shown
        if not text:
            return
        if self.kind == "thinking":
            joined = self._in_word and not text[0].isspace()
            self._words += sum(1 for _ in _WORD.finditer(text)) - joined
            self._in_word = not text[-1].isspace()
        self._body.append(text)

    def mark(self, layers: Layers) -> bool:
        """Mark parts of the original text, instead of those marked before. Returns whether that differs."""
        if layers == self._layers:
            return False
        self._layers = layers
        self._body.layers = moved(layers, self._shown) if any(layers) else ()
        self._marked = None
        return True

    def _shown(self, positions: Sequence[int]) -> Mapping[int, int]:
        """Return where characters of the original text are in the text as it is shown."""
        if self._is_exact:
            return {at: max(0, at - self._dropped) for at in positions}
        shown: dict[int, int] = {}
        text, before, length = self.text, 0, -self._dropped
        for at in positions:
            length += len(visible(text[before:at]))
            shown[at], before = max(0, length), at
        return shown

    def lay_out(self, width: int) -> None:
        """Wrap the text to `width` cells, gutter included; typeset rows of another width are discarded."""
        if width != self._width:
            self._width = width
            self._typeset = self._marked = None
            for part in (self._body, self._hint, self._log, self._log_title):
                part.lay_out(max(width - GUTTER, 2))

    def repaint(self) -> None:
        """Discard the styled rows, and the typeset ones."""
        self._head = None
        self._typeset = self._marked = None
        for part in (self._body, self._hint, self._log, self._log_title):
            part.repaint()

    @property
    def wants_typesetting(self) -> bool:
        """Whether this is a complete answer that can be typeset as Markdown and is not yet."""
        ready = self.kind == "answer" and self.finished and bool(self._body)
        return ready and self._typeset is None and not self._untypesettable

    def set_type(self, rows: tuple[Strip, ...] | None) -> None:
        """Show typeset rows instead of plain text, until `lay_out` or `repaint` discards them.

        With None, the block stays plain text.
        """
        self._typeset, self._marked = rows, None
        self._untypesettable = not rows

    @property
    def height(self) -> int:
        """Number of rows; 0 while the block is empty."""
        if self.folded:
            return min(1, self._words)
        if self._typeset is not None:
            return len(self._typeset)
        return sum(part.height for part in self._parts)

    @property
    def texts(self) -> Iterator[str]:
        """The text of each row, as if the block was not folded."""
        if self._typeset is not None:
            return (strip.text for strip in self._typeset)
        return chain.from_iterable(part.texts for part in self._parts)

    @property
    def is_typeset(self) -> bool:
        """Whether typeset rows are shown."""
        return self._typeset is not None

    def strip(self, row: int, palette: Palette) -> Strip:
        """Return a row by its index in the block, which is below `height`."""
        if self.folded:
            return self._folded_strip(palette)
        if self._typeset is not None:
            if not any(self._layers):
                return self._typeset[row]
            if self._marked is None:
                layers, text = self._body.layers, self._body.text
                self._marked = carried(layers, text, self._typeset, GUTTER, palette)
            return self._marked[row]
        for part in self._parts:
            if row < part.height:
                return part.strip(row, palette)
            row -= part.height
        raise IndexError(row)

    def _folded_strip(self, palette: Palette) -> Strip:
        text = f"{self.kind} · {counted(self._words, 'word')}"
        if self._head is None or self._head[0] != text:
            self._head = text, _strip("▸ ", text, self.kind, palette)
        return self._head[1]


def _strip(sign: str | None, text: str, tone: Tone, palette: Palette, marks: Sequence[Mark] = ()) -> Strip:
    if marks:
        margin = Segment(sign or " " * GUTTER, palette[f"{tone}-mark" if sign else tone])
        return Strip([margin, *restyled([Segment(text, palette[tone])], marks, palette)])
    if sign is None:
        return Strip([Segment(" " * GUTTER + text, palette[tone])])
    return Strip([Segment(sign, palette[f"{tone}-mark"]), Segment(text, palette[tone])])
