"""A Textual screen that writes only the changed cells, and colours only where they change.

Textual itself writes each changed row from the left edge of its widget, sets and resets the colours
of every segment, and ends rows with newlines. When text streams in at the end of long rows, that is
most of the bytes. `tests/tui/test_painting.py` checks that the terminal shows the same as with Textual's own painting.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby, pairwise
from math import inf
from operator import itemgetter
from typing import Any, NamedTuple, TypeAlias

from rich.console import Console, RenderableType
from textual.geometry import Region, Size
from textual.notifications import Notification
from textual.screen import Screen, ScreenResultType
from textual.strip import Strip
from textual.widget import Widget

from paragone_tui.painting.cells import BLANK, Cell, Pen, cells_of, is_doubtful
from paragone_tui.textual_internals import ChopsUpdate, CompositorScreen, LayoutUpdate, RegionCompositor

_MAX_GAP = 4
"""Changed cells at most this far apart are written as one stretch: moving the cursor takes as many bytes."""

_OVERHEAD = 12
"""About the bytes that a change takes beside its cells, to move the cursor and to set the colours."""
_SHORT = 32
"""Bytes of a change that does not wait for the longer ones: a key that was typed, a figure, a state."""

_UNKNOWN: Cell = ("", (-1, "", ""))
_Stretch: TypeAlias = tuple[int, int, Strip]
"""Row, column of the first cell, and content of cells to show."""


class ChangedRowsScreen(CompositorScreen[ScreenResultType]):
    """A screen that sends few bytes to the terminal. Hyperlinks are painted as text."""

    def __init__(self) -> None:
        self._terminal = _Terminal()
        super().__init__(_ChangedRowsCompositor(self, self._terminal))
        self._paints = False
        """Whether `_paint` is scheduled."""

    def repaint(self) -> None:
        """Paint everything, whatever the terminal shows."""
        self._terminal.forget()
        self.refresh()

    def begin_frame(self, room: float) -> None:
        """Prepare for a frame that has about `room` bytes."""
        self._terminal.begin_frame(room)

    def left_out(self) -> Iterable[Region]:
        """Return the rows of the last frame that were not written, because there was no room for them."""
        return self._terminal.left_out

    def network_changed(self) -> None:
        """Show that the program went offline, or online again. Most screens do not."""

    def shows_message(self, message: Notification | None) -> bool:
        """Show a message, or that there is none. Returns False if the screen has no place for messages, as most."""
        return False

    @property
    def painted_size(self) -> Size:
        """The size of the terminal, as far as its cells are known."""
        return self._terminal.size

    def paint(self, widget: Widget, regions: Iterable[Region]) -> None:
        """Have regions of a widget of this screen painted in the next turn of the event loop."""
        self.mark_dirty(widget, regions)
        if not self._paints:
            self._paints = True
            asyncio.get_running_loop().call_soon(self._paint)

    def _paint(self) -> None:
        self._paints = False
        self.paint_dirty()


def paint(widget: Widget, *regions: Region) -> None:
    """Have regions of a widget painted, or all of it, together with what other widgets ask for in this turn.

    `Widget.refresh` does so by two messages, two idle events and a timer, which takes longer than the painting. It
    is needed where the widget's size or styles change.
    """
    if not widget.is_attached:
        return
    screen = widget.screen
    if isinstance(screen, ChangedRowsScreen):
        screen.paint(widget, regions)
    else:
        widget.refresh(*regions)


class _ChangedRowsCompositor(RegionCompositor):
    def __init__(self, screen: ChangedRowsScreen[Any], terminal: _Terminal) -> None:
        super().__init__()
        self._screen = screen
        self.terminal = terminal
        self._wanted: list[Region] = []

    def render_update(
        self, full: bool = False, screen_stack: list[Screen[object]] | None = None, simplify: bool = False
    ) -> RenderableType | None:
        unknown = bool(self.dirty_regions) and self.terminal.size != self.size
        if unknown and self._screen.app.is_headless:
            unknown = False  # nothing is written, so nothing would ever be known
        return super().render_update(full or unknown, screen_stack, simplify)

    def render_partial_update(self) -> ChopsUpdate | None:
        self._wanted = list(self.dirty_regions)
        update = super().render_partial_update()
        self._wanted = []
        return update and _Changes(update, self.terminal)

    def renders(self, crop: Region | None) -> Iterable[tuple[Region, Region, list[Strip]]]:
        """Yield what the widgets show in the regions to repaint, front to back.

        Textual's own method also renders rows outside these regions, and widgets that others cover.
        """
        wanted = self._wanted or [crop or self.size.region]
        for widget, (region, clip) in self.visible_widgets.items():
            if not wanted:
                return
            seen = region.intersection(clip)
            hit = [part for part in wanted if seen.overlaps(part)]
            if hit:
                rows = Region.from_union(hit)
                part = seen.intersection(Region(seen.x, rows.y, seen.width, rows.height))
                yield region, part, widget.render_lines(part.translate(-region.offset))
                wanted = [rest for part in wanted for rest in _without(part, seen)]

    def render_full_update(self, simplify: bool = False) -> LayoutUpdate:
        return _Everything(super().render_full_update(simplify), self.terminal)


def _without(region: Region, cover: Region) -> Iterator[Region]:
    """Yield the parts of a region that another one does not cover: those above, below, left and right of it."""
    common = region.intersection(cover)
    if not common:
        yield region
        return
    for left, top, right, bottom in (
        (region.x, region.y, region.right, common.y),
        (region.x, common.bottom, region.right, region.bottom),
        (region.x, common.y, common.x, common.bottom),
        (common.right, common.y, region.right, common.bottom),
    ):
        if left < right and top < bottom:
            yield Region.from_corners(left, top, right, bottom)


class _Changes(ChopsUpdate):
    """An update of the parts of rows that may have changed."""

    def __init__(self, update: ChopsUpdate, terminal: _Terminal) -> None:
        super().__init__(update.chops, update.spans, update.chop_ends)
        self._terminal = terminal

    def render_segments(self, console: Console) -> str:
        return self._terminal.write(self._stretches(), console)

    def _stretches(self) -> Iterator[_Stretch]:
        for y, spans in groupby(self.spans, itemgetter(0)):
            dirty = [(start, stop) for _, start, stop in spans]
            for end, (x, strip) in zip(self.chop_ends[y], self.chops[y].items(), strict=True):
                if strip is not None and any(x < stop and start < end for start, stop in dirty):
                    yield y, x, strip


class _Everything(LayoutUpdate):
    """An update of the whole screen, which assumes nothing about what the terminal shows."""

    def __init__(self, update: LayoutUpdate, terminal: _Terminal) -> None:
        super().__init__(update.strips, update.region)
        self._terminal = terminal

    def render_segments(self, console: Console) -> str:
        self._terminal.forget(self.region.size)
        rows = ((y, 0, Strip.join(strips)) for y, strips in enumerate(self.strips))
        return self._terminal.write(rows, console)


class _Terminal:
    """Tracks what the terminal shows, and computes the output that changes it."""

    def __init__(self) -> None:
        self.begin_frame(inf)
        self._frames_without: Counter[int] = Counter()
        """In how many frames in a row there was no room for the changes of a row."""
        self.forget()

    def begin_frame(self, room: float) -> None:
        """Write about `room` bytes at most in the next frame."""
        self._room = room
        self.left_out: list[Region] = []
        """The rows for which there was no room."""

    def forget(self, size: Size = Size(0, 0)) -> None:  # noqa: B008 - a constant
        """Treat all cells as unknown; `size` is the terminal's size in cells."""
        self.size = size
        self._rows = [[_UNKNOWN] * size.width for _ in range(size.height)]

    def write(self, stretches: Iterable[_Stretch], console: Console) -> str:
        """Return the output that shows the stretches. Those of one row must follow each other.

        If there is no room for all changes, short ones come first, such as a key that was typed, and then those that
        were left out often.
        """
        pen = Pen(console.color_system)
        out: list[str] = []
        cursor: tuple[int, int] | None = None
        size = 0
        for change in self._in_order([*self._changed(stretches, pen)]):
            y, first, cells = change
            look, length = pen.look, len(out)
            out.append(_move(cursor, (first, y)))
            end = _print(cells, first, y, pen, out)
            taken = sum(map(len, out[length:]))
            if size and size + taken > self._room:
                del out[length:]
                pen.look = look
                self.left_out.append(Region(first, y, len(cells), 1))
                continue
            size += taken
            cursor = end, y
            self._rows[y][first:end] = cells
        out.append(pen.lift())
        self._frames_without = Counter(
            {region.y: self._frames_without[region.y] + 1 for region in self.left_out}
        )
        return "".join(out)

    def _changed(self, stretches: Iterable[_Stretch], pen: Pen) -> Iterator[_Change]:
        for y, in_row in groupby(stretches, itemgetter(0)):
            before = self._rows[y]
            row = before.copy()
            for _, x, strip in in_row:
                cells = cells_of(strip, pen.colors)
                row[x : x + len(cells)] = cells
            del row[len(before) :]
            for start, stop in _changes(before, row):
                yield _Change(y, start, row[start:stop])

    def _in_order(self, changes: list[_Change]) -> list[_Change]:
        if sum(map(_cost, changes)) > self._room:
            changes.sort(key=self._rank)
        return changes

    def _rank(self, change: _Change) -> tuple[bool, float]:
        cost = _cost(change)
        return (False, cost) if cost <= _SHORT else (True, cost / (1 + self._frames_without[change.y]))


class _Change(NamedTuple):
    """Cells that are to be written, and where they begin."""

    y: int
    x: int
    cells: list[Cell]


def _cost(change: _Change) -> int:
    """Return about how many bytes a change takes."""
    return len(change.cells) + _OVERHEAD


def _changes(before: list[Cell], after: list[Cell]) -> Iterator[tuple[int, int]]:
    """Yield the first column, and the column after the last, of each stretch that must be written."""
    changed = [x for x, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    start = None
    for x, following in pairwise([*changed, len(after) + _MAX_GAP]):
        start = x if start is None else start
        if following - x > _MAX_GAP:
            if any(len(text) > 1 and is_doubtful(text) for text, _ in after[start : x + 1]):
                # The terminal may draw it wider than expected: rewrite everything to its right.
                yield start, len(after)
                return
            yield start, x + 1
            start = None


def _move(cursor: tuple[int, int] | None, to: tuple[int, int]) -> str:
    """Return a short sequence that moves the cursor to a column and row, both counted from 0."""
    x, y = to
    if cursor == to:
        return ""
    if cursor and cursor[1] == y and cursor[0] < x:
        return f"\x1b[{x - cursor[0]}C"
    return f"\x1b[{y + 1};{x + 1}H" if x else f"\x1b[{y + 1}H"


def _print(cells: list[Cell], x: int, y: int, pen: Pen, out: list[str]) -> int:
    """Append the output for cells in row `y` from column `x` on; return the column after them."""
    for at, (text, look) in enumerate(cells):
        if not text:
            continue  # the right half of the character before
        if len(text) == 1 or not is_doubtful(text):
            if look != pen.look:
                out.append(pen.take((text, look)))
            out.append(text)
            continue
        width = 2 if at + 1 < len(cells) and not cells[at + 1][0] else 1
        column = x + at
        # Blanks first: if the terminal draws it narrower, no half of an old character may remain.
        out += (pen.take((text, look)), BLANK * width, f"\x1b[{column + 1}G")
        out += (text, f"\x1b[{column + width + 1}G")
    return x + len(cells)
