"""Screens that write only changed cells, all lanes in one frame."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, pairwise
from math import floor, inf
from operator import itemgetter
from typing import Any, ClassVar, TypeAlias

from rich.console import Console, RenderableType
from textual import events
from textual._compositor import ChopsUpdate, Compositor, LayoutUpdate
from textual._styles_cache import StylesCache
from textual._time import get_time
from textual.geometry import Region, Size
from textual.messages import Layout
from textual.notifications import Notification
from textual.reactive import Reactive
from textual.screen import Screen, ScreenResultType
from textual.strip import Strip
from textual.widget import Widget

from paragone_tui.terminal.cells import BLANK, Pen, TerminalCell, cells_of, has_ambiguous_width
from paragone_tui.terminal.driver import TerminalDriver

CHECKED_VERSIONS = {"textual": "8.2.8", "rich": "15.0.0"}
"""This folder and `program_app` use undocumented parts of Textual and Rich, which were checked against these versions."""
BEAT = 1 / 10
"""Seconds between two frames while text streams in: 10 frames/s look smooth, with a third of the bytes of 30 frames/s."""


class Cadence:
    """Combines all requests until the next beat into one call of a function.

    A beat is every `every` seconds on the event loop's clock, so that all instances call their functions at the same
    time. If the last call is more than three beats ago, a request calls the function immediately.
    """

    def __init__(self, call: Callable[[], object], every: float = BEAT) -> None:
        self._call = call
        self._every = every
        self._last = -inf
        self._handle: asyncio.Handle | None = None

    @property
    def waiting(self) -> bool:
        return self._handle is not None

    def ask(self) -> None:
        """Schedule a call for the next beat, unless a call is scheduled. Needs a running event loop."""
        if self._handle is not None:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now - self._last > 3 * self._every:
            self._handle = loop.call_soon(self._run)
        else:
            self._handle = loop.call_at((floor(now / self._every) + 1) * self._every, self._run)

    def stop(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def begin_again(self) -> None:
        """Act as if the last call were now, and cancel a scheduled call."""
        self.stop()
        self._last = asyncio.get_running_loop().time()

    def _run(self) -> None:
        self.begin_again()
        self._call()


_LATER_S = 1 / 30
"""Seconds until the program tries again to write to a terminal that did not read."""
_MAX_GAP = 4
"""Changed cells at most this far apart are written as one stretch: moving the cursor takes as many bytes."""

_UNKNOWN: TerminalCell = ("", (-1, "", ""))
_Span: TypeAlias = tuple[int, int]
"""The first column of a span, and the column after its last."""
_Stretch: TypeAlias = tuple[int, int, Strip]
"""Cells to show: their row, the column of the first cell, and the content of the cells."""


class ChangedRowsScreen(Screen[ScreenResultType]):
    """A screen that sends few bytes to the terminal, and shows hyperlinks as plain text. Its own compositor paints it,
    without the messages with which Textual requests a paint."""

    has_lanes: ClassVar[bool] = False
    """Whether the commands of lanes work on this screen."""
    # Textual also paints the whole screen. The widgets that lose and get the focus paint themselves.
    focused: Reactive[Widget | None] = Reactive(None, repaint=False)

    def __init__(self) -> None:
        self._terminal = _Terminal()
        super().__init__()
        self._compositor = _ChangedRowsCompositor(self, self._terminal)
        self._paints = False
        """Whether `_paint` is called in the next iteration of the event loop."""
        self._laid_out_at = 0.0
        self._paints_later = False
        """Whether a frame waits until the terminal has read earlier frames."""
        self.opened_at = time.time()

    @property
    def early_keys(self) -> tuple[str, ...]:
        """The keys that have the same effect while the screen's options are still being listed."""
        return ()

    @property
    def waits_for_refresh(self) -> bool:
        """Whether functions wait for the next refresh, other than Textual's own one that reports the move of the focus."""
        return any(getattr(call, "func", call) != self.refresh_bindings for call, _ in self._callbacks)

    def repaint(self) -> None:
        self._terminal.forget()
        self.refresh()

    def network_changed(self) -> None:
        """Show that the program went offline or online again. By default, a screen does not show this."""

    def paint(self, widget: Widget, regions: Iterable[Region]) -> None:
        """Mark regions of a widget, or all of it, to be painted with the next frame, or once a layout shows the widget."""
        widget._set_dirty(*regions)
        # For a widget that is not shown, Textual would arrange all widgets, and miss the changes in its next layout.
        if widget in self._compositor.visible_widgets:
            self._dirty_widgets.add(widget)
        if not self._paints:
            self._paints = True
            asyncio.get_running_loop().call_soon(self._paint)

    def _paint(self) -> None:
        """Paint the marked regions; if painting is not possible now, Textual paints them later."""
        self._paints = False
        if self.is_current and not self._layout_required and not self.app._batch_count:
            self._compositor.update_widgets(self._dirty_widgets)
            self._compositor_refresh()
        else:
            self.check_idle()

    def shows_message(self, message: Notification | None) -> bool:
        """Show a message, or clear it, in the screen's row for messages. Returns False if the screen has no such row."""
        return False

    def on_unmount(self) -> None:
        """Free the painted rows: a cache in `StylesCache` keeps the rows of its last 1,024 instances, about 80 MiB."""
        StylesCache.get_inner_outer.cache_clear()

    def _on_screen_resume(self, event: events.ScreenResume) -> None:
        # If a screen's size has changed, Textual lays the screen out, which paints it, and then paints it a second time.
        event.prevent_default()
        before = self._compositor.size
        if not before:  # the screen is new: Textual has just computed the styles of its widgets
            event.refresh_styles = False
        super()._on_screen_resume(event)
        if self._compositor.size != before:
            self._repaint_required = False

    async def _on_resize(self, event: events.Resize) -> None:
        # Each layout tells the screen its size. Textual would then lay the screen out again, as for a new size of the terminal.
        if event.size == self._size == self._compositor.size:
            event.prevent_default()

    def _on_timer_update(self) -> None:
        # Otherwise, Textual would paint the changes of the layout, and then the whole screen.
        if self._layout_required and self._repaint_required:
            self._repaint_required = False
            self._dirty_widgets.add(self)
        super()._on_timer_update()

    def _refresh_layout(self, size: Size | None = None, scroll: bool = False) -> None:
        if not scroll or self._layout_widgets:
            self._laid_out_at = get_time()
            self._layout_required = False
        # The layout sets the virtual sizes of widgets. Each new size would request another layout, which changes nothing.
        virtual_size = vars(Widget)["virtual_size"]
        virtual_size._layout = False
        try:
            super()._refresh_layout(size, scroll)
        finally:
            virtual_size._layout = True

    async def _on_layout(self, message: Layout) -> None:
        if message.time < self._laid_out_at:  # the last layout has already done the earlier requests
            message.stop()
            message.prevent_default()

    def _compositor_refresh(self) -> None:
        driver = self.app._driver
        if self is not self.app.screen or not isinstance(driver, TerminalDriver):
            super()._compositor_refresh()
        elif driver.is_behind:
            # Dirty regions stay dirty, so that the next frame shows their newest state.
            self._dirty_widgets.clear()
            if not self._paints_later:
                self._paints_later = True
                self.set_timer(_LATER_S, self._paint_later)
        else:
            with driver.frame():
                super()._compositor_refresh()

    def _paint_later(self) -> None:
        self._paints_later = False
        self._paint()


def paint(widget: Widget, *regions: Region) -> None:
    """Paint regions of a widget, or all of it, in the next iteration of the event loop, before messages and timers.
    Call `refresh` instead where the widget's size or styles change."""
    if not widget.is_attached:
        return
    screen = widget.screen
    if isinstance(screen, ChangedRowsScreen):
        screen.paint(widget, regions)
    else:
        widget.refresh(*regions)


def stop_watching(widget: Widget) -> None:
    """Make the application drop a widget that watches its attributes, which would keep the removed widget in memory."""
    watchers: dict[str, list[tuple[object, object]]] = getattr(widget.app, "__watchers", {})
    for watching in watchers.values():
        watching[:] = [entry for entry in watching if entry[0] is not widget]


class _ChangedRowsCompositor(Compositor):
    def __init__(self, screen: ChangedRowsScreen[Any], terminal: _Terminal) -> None:
        super().__init__()
        self._screen = screen
        self.terminal = terminal
        self._wanted: list[Region] = []

    def render_update(
        self, full: bool = False, screen_stack: list[Screen[object]] | None = None, simplify: bool = False
    ) -> RenderableType | None:
        # A headless application writes nothing, so the cells would stay unknown.
        is_unknown = self.terminal.size != self.size and not self._screen.app.is_headless
        full = full or (bool(self._dirty_regions) and is_unknown)
        is_partial = not full and self.size.region not in self._dirty_regions
        self._wanted = list(self._dirty_regions) if is_partial else []
        update = super().render_update(full, screen_stack, simplify)
        self._wanted = []
        if isinstance(update, ChopsUpdate):
            return _Update(self.terminal, _stretches(update))
        if isinstance(update, LayoutUpdate):
            rows = ((y, 0, Strip.join(strips)) for y, strips in enumerate(update.strips))
            return _Update(self.terminal, rows, update)
        return update

    def _get_renders(self, crop: Region | None = None) -> Iterable[tuple[Region, Region, list[Strip]]]:
        """Yield rows in the dirty regions only, the front widgets first; Textual also renders rows outside, and covered
        widgets."""
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


def _spans(regions: Iterable[Region]) -> dict[int, list[_Span]]:
    spans: dict[int, list[_Span]] = {}
    for region in regions:
        for y in region.line_range:
            spans.setdefault(y, []).append(region.column_span)
    return spans


def _outside(spans: Iterable[_Span], region: Region) -> Iterator[_Span]:
    left, right = region.column_span
    for start, stop in spans:
        if stop <= left or right <= start:
            yield start, stop
            continue
        if start < left:
            yield start, left
        if right < stop:
            yield right, stop


class _Update(LayoutUpdate):
    """Writes the cells that differ from what the terminal shows; with `full`, all cells, whatever it shows."""

    def __init__(
        self, terminal: _Terminal, stretches: Iterable[_Stretch], full: LayoutUpdate | None = None
    ) -> None:
        # screenshots are made from the strips of a full update
        super().__init__(full.strips if full else [], full.region if full else Region())
        self._terminal = terminal
        self._stretches = stretches
        self._is_full = full is not None

    def render_segments(self, console: Console) -> str:
        if self._is_full:
            self._terminal.forget(self.region.size)
        return self._terminal.write(self._stretches, console)


def _stretches(update: ChopsUpdate) -> Iterator[_Stretch]:
    for y, spans in groupby(update.spans, itemgetter(0)):
        dirty = [(start, stop) for _, start, stop in spans]
        for end, (x, strip) in zip(update.chop_ends[y], update.chops[y].items(), strict=True):
            if strip is not None and any(x < stop and start < end for start, stop in dirty):
                yield y, x, strip


class _Terminal:
    def __init__(self) -> None:
        self.forget()

    def forget(self, size: Size = Size(0, 0)) -> None:  # noqa: B008 - a constant
        """Treat all cells as unknown; `size` is the terminal's size in cells."""
        self.size = size
        self._rows = [[_UNKNOWN] * size.width for _ in range(size.height)]

    def write(self, stretches: Iterable[_Stretch], console: Console) -> str:
        pen = Pen(console.color_system)
        out: list[str] = []
        cursor: tuple[int, int] | None = None
        for y, in_row in groupby(stretches, itemgetter(0)):
            before = self._rows[y]
            row = before.copy()
            for _, x, strip in in_row:
                cells = cells_of(strip, pen.colors)
                row[x : x + len(cells)] = cells
            del row[len(before) :]
            for start, stop in _changes(before, row):
                out.append(_move(cursor, (start, y)))
                cursor = _print(row[start:stop], start, y, pen, out), y
            self._rows[y] = row
        return "".join([*out, pen.reset_sequence()])


def _changes(before: list[TerminalCell], after: list[TerminalCell]) -> Iterator[tuple[int, int]]:
    """Yield the first column, and the column after the last, of each stretch of cells to write."""
    changed = [x for x, (old, new) in enumerate(zip(before, after, strict=True)) if old != new]
    start = None
    for x, following in pairwise([*changed, len(after) + _MAX_GAP]):
        start = x if start is None else start
        if following - x > _MAX_GAP:
            if any(len(text) > 1 and has_ambiguous_width(text) for text, _ in after[start : x + 1]):
                # The terminal may draw the grapheme wider than expected: write all cells to its right again.
                yield start, len(after)
                return
            yield start, x + 1
            start = None


def _move(cursor: tuple[int, int] | None, to: tuple[int, int]) -> str:
    x, y = to
    if cursor == to:
        return ""
    if cursor and cursor[1] == y and cursor[0] < x:
        return f"\x1b[{x - cursor[0]}C"
    return f"\x1b[{y + 1};{x + 1}H" if x else f"\x1b[{y + 1}H"


def _print(cells: list[TerminalCell], x: int, y: int, pen: Pen, out: list[str]) -> int:
    for at, (text, look) in enumerate(cells):
        if not text:
            continue  # the right half of a wide character
        if len(text) == 1 or not has_ambiguous_width(text):
            if look != pen.look:
                out.append(pen.sequence_for((text, look)))
            out.append(text)
            continue
        width = 2 if at + 1 < len(cells) and not cells[at + 1][0] else 1
        column = x + at
        # Spaces first: if the terminal draws the grapheme narrower, no half of an old character may remain.
        out += (pen.sequence_for((text, look)), BLANK * width, f"\x1b[{column + 1}G")
        out += (text, f"\x1b[{column + width + 1}G")
    return x + len(cells)
