"""The blocks of a transcript: each knows its text and its rows at the width it was last asked for."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

from rich.segment import Segment
from rich.style import Style
from textual.strip import Strip

from paragone_tui.clean import visible
from paragone_tui.transcript.wrap import Wrapped

__all__ = ["GUTTER", "Block", "Kind", "Palette", "Tone"]

Kind: TypeAlias = Literal["prompt", "thinking", "answer", "note", "error"]
Tone: TypeAlias = Literal["prompt", "thinking", "answer", "note", "error", "log", "hint", "mark"]
Palette: TypeAlias = Mapping[str, Style]
"""The style of each tone, and of the mark beside it (`prompt-mark`)."""

GUTTER = 2
"""Cells at the left of every row: the mark of the block's kind, and a space."""

_MARKS: Mapping[str, str] = {
    "prompt": "▎ ",
    "thinking": "┊ ",
    "note": "· ",
    "error": "▎ ",
    "log": "▎ ",
    "hint": "▎ ",
}
_WORD = re.compile(r"\S+")


class _Part:
    """A stretch of text in one tone."""

    def __init__(self, tone: Tone) -> None:
        self.tone = tone
        self.pieces: list[str] = []
        self.wrapped = Wrapped(80)
        self.strips: dict[int, Strip] = {}

    def append(self, text: str) -> None:
        self.pieces.append(text)
        first = self.wrapped.append(text)
        for row in [row for row in self.strips if row >= first]:
            del self.strips[row]

    def lay_out(self, width: int) -> None:
        if self.wrapped.width != width:
            self.wrapped = Wrapped(width, "".join(self.pieces))
            self.strips.clear()

    @property
    def height(self) -> int:
        rows = self.wrapped.rows
        return len(rows) - (not rows[-1]) if rows else 0

    def strip(self, row: int, palette: Palette) -> Strip:
        strip = self.strips.get(row)
        if strip is None:
            text = self.wrapped.rows[row].rstrip()
            # A note is marked once, a prompt all the way down.
            mark = _MARKS.get(self.tone, "") if row == 0 or self.tone != "note" else ""
            strip = _strip(mark, text, self.tone, palette)
            self.strips[row] = strip
        return strip


class Block:
    """Something said in a transcript: a prompt, an answer, a note.

    `text` is the raw text as it came, for the clipboard; what is painted has been cleaned.
    """

    def __init__(self, kind: Kind, *, hint: str = "", log: Sequence[str] = ()) -> None:
        self.kind = kind
        self.finished = False
        self.folded = False
        self._typeset: tuple[Strip, ...] | None = None
        self._untypesettable = False
        self.start = 0
        """The block's first row in the transcript."""
        self._raw: list[str] = []
        self._held = ""
        self._words = 0
        self._in_word = False
        self._width = 0
        self._head: tuple[str, Strip] | None = None
        self._body = _Part(kind)
        self._parts = [self._body]
        if log:
            part = _Part("log")
            part.append("\n".join(visible(line) for line in log))
            self._parts.append(part)
        if hint:
            part = _Part("hint")
            part.append(visible(hint))
            self._parts.append(part)

    @property
    def text(self) -> str:
        """The text as it came."""
        if len(self._raw) > 1:
            self._raw = ["".join(self._raw)]
        return self._raw[0] if self._raw else ""

    @property
    def words(self) -> int:
        """How many words it has."""
        return self._words

    def append(self, text: str) -> None:
        """Add text at the end."""
        self._raw.append(text)
        text = self._held + text
        # A line end may be torn between two pieces.
        self._held = text[-1:] if text[-1:] == "\r" and not self.finished else ""
        text = visible(text[: len(text) - len(self._held)])
        if not self._body.pieces:
            text = text.lstrip("\n")  # models often start with empty lines
        if not text:
            return
        joined = self._in_word and not text[0].isspace()
        self._words += sum(1 for _ in _WORD.finditer(text)) - joined
        self._in_word = not text[-1].isspace()
        self._body.append(text)

    def finish(self) -> None:
        """Take note that no more text will come."""
        self.finished = True
        if self._held:
            held, self._held = self._held, ""
            self._body.append(visible(held))

    def lay_out(self, width: int) -> None:
        """Wrap to `width` cells, the gutter included, from now on."""
        if width != self._width:
            self._width = width
            self._typeset = None
            for part in self._parts:
                part.lay_out(max(width - GUTTER, 2))

    def repaint(self) -> None:
        """Forget the rows' styles."""
        self._head = None
        self._typeset = None
        for part in self._parts:
            part.strips.clear()

    @property
    def wants_typesetting(self) -> bool:
        """Whether it is a finished answer that could be set as Markdown and is not yet."""
        ready = self.kind == "answer" and self.finished and bool(self._body.pieces)
        return ready and self._typeset is None and not self._untypesettable

    def set_type(self, rows: tuple[Strip, ...] | None) -> None:
        """Show these rows instead of the plain text, until the width changes; None to stay plain for good."""
        self._typeset = rows
        self._untypesettable = not rows

    @property
    def height(self) -> int:
        """Number of rows."""
        if self.folded:
            return 1
        if self._typeset is not None:
            return len(self._typeset)
        return sum(part.height for part in self._parts)

    def strip(self, row: int, palette: Palette) -> Strip:
        """Return the row with that index."""
        if self.folded:
            return self._folded_strip(palette)
        if self._typeset is not None:
            return self._typeset[row]
        for part in self._parts:
            if row < part.height:
                return part.strip(row, palette)
            row -= part.height
        raise IndexError(row)

    def _folded_strip(self, palette: Palette) -> Strip:
        text = f"thinking · {self._words} word{'' if self._words == 1 else 's'}"
        if self._head is None or self._head[0] != text:
            self._head = text, _strip("▸ ", text, "thinking", palette)
        return self._head[1]


def _strip(mark: str, text: str, tone: Tone, palette: Palette) -> Strip:
    mark = mark or " " * GUTTER
    if mark.isspace():
        return Strip([Segment(mark + text, palette[tone])])
    return Strip([Segment(mark, palette[f"{tone}-mark"]), Segment(text, palette[tone])])
