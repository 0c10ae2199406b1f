"""The layout of a transcript: its blocks as one long page of rows."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from operator import attrgetter
from typing import TYPE_CHECKING

from textual.strip import Strip

from paragone_tui.transcript.block import Block, BlockKind
from paragone_tui.transcript.text import SLICE, Layers, TranscriptStyles, marks_between

if TYPE_CHECKING:
    from paragone import Channel

_BLANK = Strip([], 0)
_MOST = 1_000_000
"""Number of characters that a page keeps, in some 10,000 rows. A page that exceeds this by a tenth loses its oldest blocks."""
_BLOCKS = 2_000
"""Number of blocks that a page keeps."""
MOST_TURNS = _BLOCKS // 2
"""Number of turns of a long conversation that a page gets."""
_OMITTED = "Earlier text is not shown here; the history has it."
_REMARKS: frozenset[BlockKind] = frozenset({"note", "caution"})
"""Kinds of blocks that follow each other without a blank row between them."""
_REACH = 3_000
"""A place is searched for within this many letters of its old position: typesetting drops some letters."""
_ALIKE = 80
"""Number of letters that identify a place."""
_NO_LETTERS = re.compile(r"[\W_]+")
_start = attrgetter("start")


@dataclass(frozen=True, slots=True, kw_only=True)
class RowAnchor:
    """A row of the page that can be found again after a new layout."""

    block: Block
    row: int
    """The row, counted from the block's first row: `height` or more in the gap below the block, 0 if the block is folded."""
    height: int
    """The block's height in rows, before the new layout."""
    count: Callable[[str], int]
    """Returns the number of characters of a text, or the number of its letters and digits if the text may be typeset."""
    above: int
    """The `count` of the block's text above the row: the same after wrapping, nearly the same after typesetting."""
    following: str
    """The first letters in the row and below, enough to identify the place."""
    is_typeset: bool


class Page:
    """Arranges blocks into rows. `width` is in cells, `height` in rows."""

    def __init__(self, fold_thinking: bool = False, fold_logs: bool = True) -> None:
        self.fold_thinking = fold_thinking
        self.fold_logs = fold_logs
        self.blocks: list[Block] = []
        self._turns: dict[object, Block] = {}
        """The blocks with which turns begin."""
        self.height = 0
        self.width = 0
        self._omission = Block("note")
        self._omission.append(_OMITTED)

    def add(self, block: Block) -> None:
        self.blocks.append(block)
        if block.turn is not None:
            self._turns[block.turn] = block
        self._fold(block)
        if self.width:
            block.lay_out(self.width)
            block.wrap(SLICE)
            self._arrange(len(self.blocks) - 1)

    def fold(self, thinking: bool, logs: bool) -> None:
        self.fold_thinking, self.fold_logs = thinking, logs
        for block in self.blocks:
            self._fold(block)

    def _fold(self, block: Block) -> None:
        block.folded = self.fold_thinking and block.kind == "thinking"
        block.log_folded = self.fold_logs

    def lay_out(self, width: int) -> None:
        self.width = width
        for block in self.blocks:
            block.lay_out(width)
        self.wrap()

    @property
    def is_pending(self) -> bool:
        return any(block.is_pending for block in self.blocks)

    def wrap(self) -> None:
        """Wrap `SLICE` more characters of text, the newest blocks first, and arrange all blocks."""
        room = SLICE
        for block in reversed(self.blocks):
            if room > 0 and block.is_pending:
                room = block.wrap(room)
        self.arrange()

    def trim(self) -> bool:
        """Remove the oldest blocks beyond the limits, but keep the last turn. Returns whether blocks were removed."""
        excess = sum(block.length for block in self.blocks) - _MOST
        more = len(self.blocks) - _BLOCKS
        if excess <= _MOST // 10 and more <= _BLOCKS // 10:
            return False
        last = self.blocks.index(self.last_prompt) if self.last_prompt is not None else 0
        earlier = [block for block in self.blocks[:last] if block is not self._omission]
        removed = 0
        while removed < len(earlier) and (excess > 0 or more > 0):
            excess -= earlier[removed].length
            more -= 1
            removed += 1
        if not removed:
            return False
        self.blocks[:last] = earlier
        self.drop_blocks(removed)
        return True

    def drop_blocks(self, blocks: int) -> None:
        """Show a note about hidden earlier turns, in place of this number of blocks."""
        self.blocks[:blocks] = [self._omission]
        self._turns = {block.turn: block for block in self.blocks if block.turn is not None}
        if self.width:
            self._omission.lay_out(self.width)
            self._omission.wrap(SLICE)
            self.arrange()

    def arrange(self, since: Block | None = None) -> None:
        """Compute the page height, and the first row of each block from `since` on; of all blocks without `since`."""
        self._arrange(0 if since is None else self.blocks.index(since))

    def _arrange(self, index: int) -> None:
        above = self._last_shown(index)
        for block in (self.blocks[at] for at in range(index, len(self.blocks))):
            bottom = above.start + above.height if above else 0
            close = above is None or (above.kind in _REMARKS and block.kind in _REMARKS)
            block.start = (bottom if close or not block.height else bottom + 1) + block.lead
            if block.height:
                above = block
        self.height = above.start + above.height if above else 0

    @property
    def turns(self) -> Mapping[object, int]:
        """The turns, and the row where each turn would start without the blank rows for alignment."""
        turns: dict[object, int] = {}
        led = 0
        for block in self.blocks:
            led += block.lead
            if block.turn is not None:
                turns[block.turn] = block.start - led
        return turns

    def set_blank_rows(self, leads: Mapping[object, int]) -> None:
        for block in self.blocks:
            block.lead = leads.get(block.turn, 0)
        self.arrange()

    def blocks_of(self, turn: object) -> Sequence[Block]:
        if (first := self._turns.get(turn)) is None:
            return []
        start = self.blocks.index(first)
        following = (at for at in range(start + 1, len(self.blocks)) if self.blocks[at].turn is not None)
        return self.blocks[start : next(following, len(self.blocks))]

    def remark(self, turn: object) -> str:
        return next((block.text for block in self.blocks_of(turn) if block.is_remark), "")

    def set_remark(self, turn: object, text: str) -> None:
        self.blocks = [
            block for block in self.blocks if not (block.is_remark and block in self.blocks_of(turn))
        ]
        blocks = self.blocks_of(turn)
        if text and blocks:
            remark = Block("note", is_remark=True)
            remark.append(text)
            remark.finish()
            if self.width:
                remark.lay_out(self.width)
                remark.wrap(SLICE)
            self.blocks.insert(self.blocks.index(blocks[-1]) + 1, remark)
        self.arrange()

    def mark(self, turn: object, channel: Channel, layers: Layers) -> Iterator[Block]:
        """Replace the marks on the text of one channel of a turn, and yield the blocks whose marks have changed."""
        start = 0
        for block in self.blocks_of(turn):
            if block.kind == channel:
                end = start + block.length
                if block.mark(marks_between(layers, start, end)):
                    yield block
                start = end

    @property
    def last_prompt(self) -> Block | None:
        return next((block for block in reversed(self.blocks) if block.kind == "prompt"), None)

    def _last_shown(self, before: int) -> Block | None:
        above = (self.blocks[at] for at in range(before - 1, -1, -1))
        return next((block for block in above if block.height), None)

    def remove_after(self, after: Block | None) -> None:
        del self.blocks[self.blocks.index(after) + 1 if after else 0 :]
        if after is None:
            self._turns.clear()
        self.arrange()

    def strips(self, top: int, count: int, palette: TranscriptStyles) -> list[Strip]:
        strips: list[Strip] = []
        for block in self.blocks[self._index(top) :]:
            above = block.start - top
            if above >= count:
                break
            strips += [_BLANK] * (above - len(strips))
            rows = range(len(strips) - above, min(block.height, count - above))
            strips += [block.strip(row, palette) for row in rows]
        return strips + [_BLANK] * (count - len(strips))

    def anchor_at(self, row: int) -> RowAnchor | None:
        """Return the place of a row, for `find`; None if the page is empty."""
        if not self.blocks:
            return None
        block = self.blocks[self._index(row)]
        row = 0 if block.folded else row - block.start
        texts = iter(block.texts)
        count = len if block.is_plain else _count_letters
        above = count("".join(islice(texts, max(row, 0))))
        following = _letters("".join(islice(texts, _ALIKE)))  # enough rows, even if each has only one letter
        return RowAnchor(
            block=block,
            row=row,
            height=block.height,
            count=count,
            above=above,
            following=following[:_ALIKE],
            is_typeset=block.is_typeset,
        )

    def row_of_anchor(self, place: RowAnchor) -> int:
        block, height = place.block, place.block.height
        if not 0 < place.row < place.height or block.folded or not height:
            return block.start + min(place.row, height)
        above = place.above
        if block.is_typeset != place.is_typeset:
            above = _nearest(place.following, "".join(map(_letters, block.texts)), above)
        ends = accumulate(map(place.count, block.texts))
        return block.start + next((row for row, end in enumerate(ends) if end > above), height - 1)

    def row_of(self, block: Block, text: str) -> int:
        """Return the row where a text begins in a block, ignoring case; the block's first row if the text is not found."""
        rows = [_letters(row).casefold() for row in block.texts]
        at = "".join(rows).find(_letters(text).casefold())
        if at < 0:
            return block.start
        ends = accumulate(map(len, rows))
        return block.start + next((row for row, end in enumerate(ends) if end > at), 0)

    def _index(self, row: int) -> int:
        return max(0, bisect_right(self.blocks, row, key=_start) - 1)


def blank_rows_before_turns(lanes: Sequence[Mapping[object, int]]) -> Sequence[Mapping[object, int]]:
    """Return how many blank rows above each turn align the lanes. `lanes` maps the turns, in order, to rows without blank
    rows."""
    turns = [list(lane) for lane in lanes]
    places = [{turn: place for place, turn in enumerate(lane)} for lane in turns]
    at = [0] * len(lanes)
    moved = [0] * len(lanes)
    result: list[dict[object, int]] = [{} for _ in lanes]
    while heads := {lane: listed[at[lane]] for lane, listed in enumerate(turns) if at[lane] < len(listed)}:
        # A turn is placed once it is next in every lane that has it. If lanes have the same turns in
        # different orders, some turns cannot be aligned.
        coming = (
            turn
            for turn in heads.values()
            if all(
                heads.get(lane) is turn or place.get(turn, -1) < at[lane] for lane, place in enumerate(places)
            )
        )
        turn = next(coming, next(iter(heads.values())))
        here = [lane for lane, head in heads.items() if head is turn]
        row = max(lanes[lane][turn] + moved[lane] for lane in here)
        for lane in here:
            result[lane][turn] = row - lanes[lane][turn] - moved[lane]
            moved[lane] += result[lane][turn]
            at[lane] += 1
    return result


def _letters(text: str) -> str:
    return _NO_LETTERS.sub("", text)


def _count_letters(text: str) -> int:
    return len(_letters(text))


def _nearest(wanted: str, text: str, position: int) -> int:
    found = []
    at = text.find(wanted, max(0, position - _REACH))
    while 0 <= at <= position + _REACH:
        found.append(at)
        at = text.find(wanted, at + 1)
    return min(found, key=lambda at: abs(at - position), default=position)
