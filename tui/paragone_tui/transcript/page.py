"""The blocks of a transcript under each other, as one long page of rows."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from itertools import accumulate, islice
from operator import attrgetter

from textual.strip import Strip

from paragone_tui.transcript.block import Block, Kind
from paragone_tui.transcript.palette import Palette

__all__ = ["Page", "Place"]

_BLANK = Strip([], 0)
_REMARKS: frozenset[Kind] = frozenset({"note", "caution"})
"""Kinds of which several stand together, without a blank row between them."""
_REACH = 3_000
"""Letters up and down in which a place is looked for: Markdown drops a few on the way."""
_ALIKE = 80
"""Letters by which a place is known."""
_NO_LETTERS = re.compile(r"[\W_]+")
_start = attrgetter("start")


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A row of the page that can be found again after the rows have changed."""

    block: Block
    row: int
    """Counted from the block's first row; negative in the gap above it, 0 where it is folded."""
    height: int
    """The block's height at the time."""
    letters: int
    """Letters and digits of the block above the row: they outlast wrapping and, nearly, typesetting."""
    following: str
    """The letters that follow, as many as tell it from other places."""
    is_typeset: bool


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

    def strips(self, top: int, count: int, palette: Palette) -> list[Strip]:
        """Return the rows from `top` on, blank between the blocks and after the last."""
        strips: list[Strip] = []
        for block in self.blocks[self._index(top) :]:
            above = block.start - top
            if above >= count:
                break
            strips += [_BLANK] * (above - len(strips))
            rows = range(len(strips) - above, min(block.height, count - above))
            strips += [block.strip(row, palette) for row in rows]
        return strips + [_BLANK] * (count - len(strips))

    def place(self, row: int) -> Place | None:
        """Return where a row is, to find it again with `find`."""
        if not self.blocks:
            return None
        block = self.blocks[self._index(row)]
        row = 0 if block.folded else row - block.start
        texts = iter(block.texts)
        letters = len(_letters("".join(islice(texts, max(row, 0)))))
        following = _letters("".join(islice(texts, _ALIKE)))  # rows enough, were each a letter long
        return Place(
            block=block,
            row=row,
            height=block.height,
            letters=letters,
            following=following[:_ALIKE],
            is_typeset=block.is_typeset,
        )

    def find(self, place: Place) -> int:
        """Return the row at which the page now goes on as it did from `place`."""
        block, height = place.block, place.block.height
        if not 0 < place.row < place.height or block.folded or not height:
            return block.start + min(place.row, height)
        rows = [_letters(text) for text in block.texts]
        letters = place.letters
        if block.is_typeset != place.is_typeset:
            letters = _nearest(place.following, "".join(rows), letters)
        ends = accumulate(map(len, rows))
        return block.start + next((row for row, end in enumerate(ends) if end > letters), height - 1)

    def _index(self, row: int) -> int:
        return max(0, bisect_right(self.blocks, row, key=_start) - 1)


def _letters(text: str) -> str:
    return _NO_LETTERS.sub("", text)


def _nearest(wanted: str, text: str, position: int) -> int:
    """Return the place of `wanted` in `text` that is nearest to a position, which it is itself for want of one."""
    found = []
    at = text.find(wanted, max(0, position - _REACH))
    while 0 <= at <= position + _REACH:
        found.append(at)
        at = text.find(wanted, at + 1)
    return min(found, key=lambda at: abs(at - position), default=position)
