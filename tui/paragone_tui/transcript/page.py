"""The blocks of a transcript under each other, as one long page of rows."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from operator import attrgetter

from textual.strip import Strip

from paragone_tui.transcript.block import Block, Kind
from paragone_tui.transcript.palette import Palette

__all__ = ["Page", "Place"]

_BLANK = Strip([], 0)
_REMARKS: frozenset[Kind] = frozenset({"note", "caution"})
"""Kinds of which several stand together, without a blank row between them."""
_REACH = 300
"""Rows up and down in which a row is looked for by what it says: some 5 ms of work."""
_start = attrgetter("start")


@dataclass(frozen=True, slots=True)
class Place:
    """A row of the page that can be found again after the rows have changed."""

    block: Block
    row: int
    """Counted from the block's first row; negative in the gap above it."""
    height: int
    """The block's height at the time."""
    text: str
    """What the row said."""


class Page:
    """Blocks and the rows that they take at a given width."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self.height = 0
        self.width = 0

    def add(self, block: Block) -> None:
        """Put a block at the end."""
        if self.width:
            block.lay_out(self.width)
        self.blocks.append(block)
        self.arrange(block)

    def lay_out(self, width: int) -> None:
        """Wrap everything to `width` cells."""
        self.width = width
        for block in self.blocks:
            block.lay_out(width)
        self.arrange()

    def arrange(self, since: Block | None = None) -> None:
        """Find the places of the blocks, those before `since` being where they were."""
        index = 0 if since is None else self.blocks.index(since)
        above = self._last_shown(index)
        for block in self.blocks[index:]:
            bottom = above.start + above.height if above else 0
            close = above is None or (above.kind in _REMARKS and block.kind in _REMARKS)
            block.start = bottom if close or not block.height else bottom + 1
            if block.height:
                above = block
        self.height = above.start + above.height if above else 0

    def _last_shown(self, before: int) -> Block | None:
        return next((block for block in reversed(self.blocks[:before]) if block.height), None)

    def cut(self, after: Block | None) -> None:
        """Remove the blocks after one, or all."""
        del self.blocks[self.blocks.index(after) + 1 if after else 0 :]
        self.arrange()

    def strip(self, row: int, palette: Palette) -> Strip:
        """Return a row, blank between the blocks and after the last."""
        block = self._at(row)
        if block is None or row - block.start >= block.height:
            return _BLANK
        return block.strip(row - block.start, palette)

    def place(self, row: int, palette: Palette) -> Place | None:
        """Return where a row is, to find it again with `find`."""
        block = self._at(row)
        if block is None:
            return None
        return Place(block, row - block.start, block.height, self.strip(row, palette).text)

    def find(self, place: Place, palette: Palette) -> int:
        """Return the row that now says what `place` said, or else the one as far down its block."""
        block, height = place.block, place.block.height
        if not 0 < place.row < place.height or not height:
            return block.start + min(place.row, height)
        guess = round(place.row * height / place.height)
        wanted = _letters(place.text)[:24]
        if wanted:
            reach = min(max(8, height // 4), _REACH)
            near = range(max(0, guess - reach), min(height, guess + reach))
            for row in sorted(near, key=lambda row: abs(row - guess)):
                if wanted in _letters(block.strip(row, palette).text):
                    return block.start + row
        return block.start + min(guess, height - 1)

    def _at(self, row: int) -> Block | None:
        index = bisect_right(self.blocks, row, key=_start) - 1
        return self.blocks[index] if index >= 0 else None


def _letters(text: str) -> str:
    return "".join(character for character in text if character.isalnum())
