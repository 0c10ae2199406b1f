"""Undocumented parts of Textual's screens, of the compositor that paints them, and of Rich's styles."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Iterable

from rich.style import Style
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

from paragone_tui.textual_internals.driver import JobControlDriver

__all__ = ["ChopsUpdate", "CompositorScreen", "LayoutUpdate", "RegionCompositor", "attributes_of"]


class CompositorScreen(Screen[ScreenResultType]):
    """A screen that the program's own compositor paints, without the messages with which Textual requests a paint."""

    # Textual also paints the whole screen. The widgets that lose and get the focus paint themselves.
    focused: Reactive[Widget | None] = Reactive(None, repaint=False)

    def __init__(self, compositor: Compositor) -> None:
        super().__init__()
        self._compositor = compositor
        self._laid_out_at = 0.0
        self.opened_at = time.time()
        """When the screen was created, in seconds since 1970."""

    @property
    def waits_for_refresh(self) -> bool:
        """Whether functions wait for the next refresh, besides the one with which Textual tells that the focus has moved."""
        return any(getattr(call, "func", call) != self.refresh_bindings for call, _ in self._callbacks)

    def shows_message(self, message: Notification | None) -> bool:
        """Show a message, or none, in the screen's row for messages. Returns False if the screen has no row for messages."""
        return False

    def on_unmount(self) -> None:
        """Free the rows that the widgets of a closed screen have painted.

        The cache of a method of `StylesCache` keeps its last 1,024 instances, which keep the rows: about 80 MiB.
        """
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
        # Textual would paint what the layout has changed, and then the whole screen.
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
        if message.time < self._laid_out_at:  # the last layout has already done what was requested before
            message.stop()
            message.prevent_default()

    def mark_dirty(self, widget: Widget, regions: Iterable[Region]) -> None:
        """Mark regions of a widget, or without regions the whole widget, to be painted with the next frame.

        A widget that the last layout left out is painted once a layout shows it.
        """
        widget._set_dirty(*regions)
        # For a widget that it does not show, Textual would arrange all widgets, and miss in its next layout what changed.
        if widget in self._compositor.visible_widgets:
            self._dirty_widgets.add(widget)

    @property
    def driver(self) -> JobControlDriver | None:
        """The driver that writes to the terminal; None in a test without a terminal."""
        driver = self.app._driver
        return driver if isinstance(driver, JobControlDriver) else None

    @abstractmethod
    def begin_frame(self, room: float) -> None:
        """Prepare for a frame of about `room` bytes."""

    @abstractmethod
    def left_out(self) -> Iterable[Region]:
        """Return the regions of the last frame that were not written, because the frame had too many bytes."""

    def _compositor_refresh(self) -> None:
        driver = self.driver
        if self is not self.app.screen or driver is None:
            super()._compositor_refresh()
            return
        room = driver.room()
        if room > 0:
            self.begin_frame(room)
            with driver.frame():
                super()._compositor_refresh()
            rest = [*self.left_out()]
            if not rest:
                return
            self._compositor._dirty_regions.update(rest)
        self._dirty_widgets.clear()
        # The frame is dropped. Dirty regions stay dirty, so that the next frame shows their newest state.
        driver.call_when_room(self.paint_dirty)

    def paint_dirty(self) -> None:
        """Paint the marked regions; if painting is not possible now, Textual paints them later."""
        if self.is_current and not self._layout_required and not self.app._batch_count:
            self._compositor.update_widgets(self._dirty_widgets)
            self._compositor_refresh()
        else:
            self.check_idle()


class RegionCompositor(Compositor):
    """A compositor whose subclass decides which widgets are rendered."""

    @property
    def dirty_regions(self) -> set[Region]:
        """The regions to repaint."""
        return self._dirty_regions

    @abstractmethod
    def renders(self, crop: Region | None) -> Iterable[tuple[Region, Region, list[Strip]]]:
        """Yield each widget's region, the rendered part of the region, and the rows of that part; the front widgets first."""

    def _get_renders(self, crop: Region | None = None) -> Iterable[tuple[Region, Region, list[Strip]]]:
        return self.renders(crop)


def attributes_of(style: Style) -> int:
    """Return the attributes that a style turns on, as a bit mask in Rich's order."""
    return style._attributes & style._set_attributes
