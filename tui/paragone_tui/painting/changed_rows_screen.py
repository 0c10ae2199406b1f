"""A Textual screen that writes only the changed cells, and colours only where they change.

Textual itself writes each changed row from the left edge of its widget, sets and resets the colours
of every segment, and ends rows with newlines. When text streams in at the end of long rows, that is
most of the bytes. `tests/tui/test_painting.py` checks that the terminal shows the same as with Textual's own painting.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterable, Iterator
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

_UNKNOWN: Cell = ("", (-1, "", ""))
_Span: TypeAlias = tuple[int, int]
"""The first column, and the column after the last."""
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
        self._terminal.begin_frame(room, self.text_rows)

    @property
    def text_rows(self) -> range:
        """The rows of the text that moves as a whole: while it does not fit into a frame, the others come first."""
        return range(self.size.height)

    def left_out(self) -> Iterable[Region]:
        """Return the rows of the last frame that were not written, because there was no room for them."""
        return self._terminal.left_out

    def network_changed(self) -> None:
        """Show that the program went offline, or online again. Most screens do not."""

    def shows_message(self, message: Notification | None) -> bool:
        """Show a message, or that there is none. Returns False if the screen has no place for messages: most have none."""
        return False

    @property
    def painted_size(self) -> Size:
        """The size of the terminal, as far as its cells are known."""
        return self._terminal.size

    def paint(self, widget: Widget, regions: Iterable[Region]) -> None:
        """Paint regions of a widget of this screen in the next turn of the event loop."""
        self.mark_dirty(widget, regions)
        if not self._paints:
            self._paints = True
            asyncio.get_running_loop().call_soon(self._paint)

    def _paint(self) -> None:
        self._paints = False
        self.paint_dirty()


def paint(widget: Widget, *regions: Region) -> None:
    """Paint regions of a widget, or all of it, together with the regions that other widgets ask for in this turn.

    `Widget.refresh` paints after two messages, two idle events and a timer, which take longer than the painting. It
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
        wanted = _spans(self._wanted or [crop or self.size.region])
        for widget, (region, clip) in self.visible_widgets.items():
            if not wanted:
                return
            seen = region.intersection(clip)
            rest = {y: [*_outside(wanted[y], seen)] for y in seen.line_range if y in wanted}
            hit = [y for y, spans in rest.items() if spans != wanted[y]]
            if hit:
                part = Region(seen.x, hit[0], seen.width, hit[-1] + 1 - hit[0])
                yield region, part, widget.render_lines(part.translate(-region.offset))
                for y in hit:
                    wanted[y] = rest[y]
                    if not rest[y]:
                        del wanted[y]

    def render_full_update(self, simplify: bool = False) -> LayoutUpdate:
        return _Everything(super().render_full_update(simplify), self.terminal)


def _spans(regions: Iterable[Region]) -> dict[int, list[_Span]]:
    """Return the columns that regions have in each row."""
    spans: dict[int, list[_Span]] = {}
    for region in regions:
        for y in region.line_range:
            spans.setdefault(y, []).append(region.column_span)
    return spans


def _outside(spans: Iterable[_Span], region: Region) -> Iterator[_Span]:
    """Yield the parts of spans that are left and right of a region."""
    left, right = region.column_span
    for start, stop in spans:
        if stop <= left or right <= start:
            yield start, stop
            continue
        if start < left:
            yield start, left
        if right < stop:
            yield right, stop


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
        self.forget()

    def begin_frame(self, room: float, text_rows: Collection[int] = ()) -> None:
        """Write about `room` bytes at most in the next frame, and without room for all, those of `text_rows` last."""
        self._room = room
        self._text_rows = text_rows
        self.left_out: list[Region] = []
        """The changes that were not written, because there was no room."""

    def forget(self, size: Size = Size(0, 0)) -> None:  # noqa: B008 - a constant
        """Treat all cells as unknown; `size` is the terminal's size in cells."""
        self.size = size
        self._due: deque[_Change] = deque()
        """The rest of the text that is being written, top to bottom, as it was when there was no room for all of it."""
        self._held: Collection[int] = ()
        """The rows of that text. What changes there meanwhile is written after it: otherwise two states would mix."""
        self._rows = [[_UNKNOWN] * size.width for _ in range(size.height)]

    def write(self, stretches: Iterable[_Stretch], console: Console) -> str:
        """Return the output that shows the stretches. The stretches of a row must follow each other.

        If there is no room for all, the text that moves is written over several frames, as it is now. The other rows,
        such as the prompt's, come first in each frame.
        """
        pen = Pen(console.color_system)
        changes = [*self._changed(stretches, pen)]
        if self._due or sum(map(_cost, changes)) > self._room:
            changes = self._without_text(changes)
        out = _Output(pen)
        for change in changes:
            if not self._write(change, out):
                self.left_out.append(change.region)
        while self._due and self._write(self._due[0], out):
            self._due.popleft()
        self.left_out += [change.region for change in self._due]
        if not self._due:
            self._held = ()
        return "".join([*out.parts, pen.lift()])

    def _changed(self, stretches: Iterable[_Stretch], pen: Pen) -> Iterator[_Change]:
        for y, in_row in groupby(stretches, itemgetter(0)):
            if y in self._held:
                self.left_out += [Region(x, y, strip.cell_length, 1) for _, x, strip in in_row]
                continue
            before = self._rows[y]
            row = before.copy()
            for _, x, strip in in_row:
                cells = cells_of(strip, pen.colors)
                row[x : x + len(cells)] = cells
            del row[len(before) :]
            for start, stop in _changes(before, row):
                yield _Change(y, start, row[start:stop])

    def _without_text(self, changes: list[_Change]) -> list[_Change]:
        """Return the changes to write in any case, short ones first. Changes of the text are written while there is room."""
        if not self._due:
            self._held = self._text_rows
            self._due.extend(change for change in changes if change.y in self._held)
        return sorted((change for change in changes if change.y not in self._held), key=_cost)

    def _write(self, change: _Change, out: _Output) -> bool:
        """Write a change if there is room, or nothing has been written yet. Returns whether the change was written."""
        written = out.write(change, self._room)
        if written:
            self._rows[change.y][change.x : change.x + len(change.cells)] = change.cells
        return written


class _Output:
    """The output of a frame."""

    def __init__(self, pen: Pen) -> None:
        self.parts: list[str] = []
        self._pen = pen
        self._cursor: tuple[int, int] | None = None
        self._size = 0

    def write(self, change: _Change, room: float) -> bool:
        """Write a change, unless there is something already and the change makes it larger than `room`."""
        look, length = self._pen.look, len(self.parts)
        self.parts.append(_move(self._cursor, (change.x, change.y)))
        end = _print(change.cells, change.x, change.y, self._pen, self.parts)
        size = sum(map(len, self.parts[length:]))
        if self._size and self._size + size > room:
            del self.parts[length:]
            self._pen.look = look
            return False
        self._size += size
        self._cursor = end, change.y
        return True


class _Change(NamedTuple):
    """Cells that are to be written, and where they begin."""

    y: int
    x: int
    cells: list[Cell]

    @property
    def region(self) -> Region:
        """Where they are."""
        return Region(self.x, self.y, len(self.cells), 1)


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
