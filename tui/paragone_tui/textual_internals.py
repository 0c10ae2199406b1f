"""The undocumented parts of Textual and Rich that the screens use, and that can change in any release."""

import asyncio
import contextlib
import os
import signal
import time
from abc import abstractmethod
from collections.abc import Callable, Container, Iterable, Iterator
from typing import Any

from rich.console import RenderableType
from rich.style import Style
from textual import events
from textual._compositor import ChopsUpdate as ChopsUpdate
from textual._compositor import Compositor
from textual._compositor import LayoutUpdate as LayoutUpdate
from textual._styles_cache import StylesCache
from textual._time import get_time
from textual._xterm_parser import BRACKETED_PASTE_END as BRACKETED_PASTE_END
from textual._xterm_parser import BRACKETED_PASTE_START as BRACKETED_PASTE_START
from textual._xterm_parser import XTermParser
from textual.app import App
from textual.css.query import NoMatches
from textual.dom import DOMNode
from textual.driver import Driver
from textual.drivers.linux_driver import LinuxDriver
from textual.geometry import Region, Size
from textual.message import Message
from textual.messages import Layout
from textual.notifications import Notification, Notifications
from textual.reactive import Reactive
from textual.screen import Screen, ScreenResultType
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets._toast import ToastRack

CHECKED_VERSIONS = {"textual": "8.2.8", "rich": "15.0.0"}
"""The versions that this package was checked against."""


class JobControlDriver(LinuxDriver):
    def __init__(
        self, app: App[None], *, debug: bool = False, mouse: bool = True, size: tuple[int, int] | None = None
    ) -> None:
        super().__init__(app, debug=debug, mouse=mouse, size=size)
        # Textual's own handlers interrupt any code, also code that holds the lock that the handler then waits for.
        # asyncio's `add_signal_handler` loses signals while many keys wait, since keys fill the same pipe.
        self.on_signal(signal.SIGTSTP, self._sigtstp_application)
        self.on_signal(signal.SIGCONT, self._sigcont_application)
        self._is_lent = False
        self._parts: list[str] | None = None
        """What was written of the present frame; None between two frames."""

    def on_signal(
        self,
        number: signal.Signals,
        call: Callable[[], object],
        *,
        at_once: Callable[[int], object] = lambda _: None,
    ) -> None:
        """Make the event loop call `call` after each such signal; the handler itself first calls `at_once`, at any instruction."""

        def handle(*_: object) -> None:
            at_once(number)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(call)

        signal.signal(number, handle)

    @property
    def is_behind(self) -> bool:
        """Whether earlier frames still wait, because the terminal does not read. Writing more could block the event loop."""
        return self._writer_thread is not None and self._writer_thread._queue.qsize() > 1

    @contextlib.contextmanager
    def frame(self) -> Iterator[None]:
        """Write all that the block writes together. Each part would wake the thread that writes, and the terminal."""
        parts = self._parts = list[str]()
        try:
            yield
        finally:
            self._parts = None
            if parts:
                self.write("".join(parts))

    def stop_with_group(self) -> None:
        """Restore the terminal, and stop the program's group, as Ctrl+Z does, until SIGCONT of the shell's `fg`."""
        self.suspend_application_mode()
        self._must_signal_resume = True
        os.kill(0, signal.SIGSTOP)

    @contextlib.contextmanager
    def lent(self) -> Iterator[None]:
        """Lend the terminal to another program: writes are dropped, and SIGINT and SIGQUIT do not affect paragone."""
        self.suspend_application_mode()
        self._is_lent = True
        # Not SIG_IGN, since the other program would inherit it and ignore the signals, too.
        handlers = {
            number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGQUIT)
        }
        program_ends = False
        try:
            with self.no_automatic_restart():
                yield
        except asyncio.CancelledError:
            program_ends = True
            raise
        finally:
            for number, handler in handlers.items():
                signal.signal(number, handler)
            if not program_ends:
                self._is_lent = False
                self._must_signal_resume = True
                self.resume_application_mode()

    def write(self, data: str) -> None:
        if self._parts is not None:
            self._parts.append(data)
        elif not self._is_lent:
            super().write(data)

    def _sigcont_application(self, *_: object) -> None:
        """Take the terminal again, also after a SIGSTOP, which no handler can catch."""
        if self._auto_restart:
            if not self._must_signal_resume:
                self.suspend_application_mode()  # ends the threads that read and write; resuming starts new threads
                self._must_signal_resume = True
            self.resume_application_mode()


class SequenceParser(XTermParser):
    @property
    def is_waiting(self) -> bool:
        """Whether the last characters began a sequence whose rest may still arrive in time."""
        return self._timeout_time is not None

    def complete(self) -> Iterator[Message]:
        """Yield the keys of the characters parsed so far, without waiting for the rest of a sequence."""
        if self._timeout_time is not None:
            self._timeout_time = 0.0
            yield from self.tick()


_LATER_S = 1 / 30
"""Seconds until the program tries again to write to a terminal that did not read."""


class CompositorScreen(Screen[ScreenResultType]):
    """A screen that the program's own compositor paints, without the messages with which Textual requests a paint."""

    # Textual also paints the whole screen. The widgets that lose and get the focus paint themselves.
    focused: Reactive[Widget | None] = Reactive(None, repaint=False)

    def __init__(self, compositor: Compositor) -> None:
        super().__init__()
        self._compositor = compositor
        self._laid_out_at = 0.0
        self._paints_later = False
        """Whether a frame waits until the terminal has read earlier frames."""
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
        """Mark regions of a widget, or all of it, to be painted with the next frame, or once a layout shows the widget."""
        widget._set_dirty(*regions)
        # For a widget that it does not show, Textual would arrange all widgets, and miss in its next layout what changed.
        if widget in self._compositor.visible_widgets:
            self._dirty_widgets.add(widget)

    @property
    def driver(self) -> JobControlDriver | None:
        driver = self.app._driver
        return driver if isinstance(driver, JobControlDriver) else None

    def _compositor_refresh(self) -> None:
        driver = self.driver
        if self is not self.app.screen or driver is None:
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
        self.paint_dirty()

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
        return self._dirty_regions

    @abstractmethod
    def renders(self, crop: Region | None) -> Iterable[tuple[Region, Region, list[Strip]]]:
        """Yield each widget's region, the rendered part of the region, and the rows of that part; the front widgets first."""

    def _get_renders(self, crop: Region | None = None) -> Iterable[tuple[Region, Region, list[Strip]]]:
        return self.renders(crop)


def attributes_of(style: Style) -> int:
    return style._attributes & style._set_attributes


_SOON_S = 0.01
"""Least duration in seconds of a message's timer. Textual divides by the duration, so 0 is not possible."""


class OwnErrorsApp(App[None]):
    """An application that decides itself what an unhandled exception does."""

    @property
    def is_exiting(self) -> bool:
        return self._exit

    @property
    def driver(self) -> Driver | None:
        return self._driver

    def remember_copied(self, text: str) -> None:
        self._clipboard = text

    def begin_with_theme(self, theme: str) -> None:
        """Set the theme before the application runs: setting the theme later computes all styles a second time."""
        self.set_reactive(App.theme, theme)
        dark = self.current_theme.dark
        self.set_class(dark, "-dark-mode", update=False)
        self.set_class(not dark, "-light-mode", update=False)
        self.set_class(True, f"-theme-{theme}", update=False)
        self._refresh_truecolor_filter(self.ansi_theme)
        self.stylesheet.set_variables(self.get_css_variables())

    @abstractmethod
    def continues_after(self, error: Exception) -> bool:
        """Handle an exception, and return whether the application continues; if not, the application ends."""

    @abstractmethod
    def fatal_message(self) -> RenderableType:
        """Return the text to print if the exception in progress ends the application."""

    def focus_field(self) -> None:
        self.screen._update_auto_focus()

    def works(self, groups: Container[str]) -> set[asyncio.Task[None]]:
        return {
            worker._task
            for worker in self.workers
            if worker._task is not None and worker.group in groups and worker.node in self.screen_stack[-1:]
        }

    def update_styles(self, node: DOMNode, animate: bool = True) -> None:
        """Compute the styles of a node and its descendants anew, unless it is not mounted yet or about to be removed."""
        is_shown = node is self or (node.is_attached and not (isinstance(node, Widget) and node._pruning))
        if is_shown and self._running:
            super().update_styles(node, animate=animate)

    def remove_message(self, sentence: str) -> None:
        for notification in [*self._notifications]:
            if notification.message == sentence:
                self._unnotify(notification)

    def _refresh_notifications(self) -> None:
        screen = self.screen_stack[-1] if self.screen_stack else None
        if not isinstance(screen, CompositorScreen):
            return
        newest = next(reversed([*self._notifications]), None)
        if not screen.shows_message(newest):
            self._show_toasts(screen)
        elif newest is not None:
            self.set_timer(max(_SOON_S, newest.time_left), self._refresh_notifications)

    def _show_toasts(self, screen: CompositorScreen[Any]) -> None:
        """Show messages that are newer than the screen. The user has seen earlier messages, which would cover the screen."""
        shown = Notifications()
        for notification in (it for it in self._notifications if it.raised_at >= screen.opened_at):
            shown.add(notification)
        with contextlib.suppress(NoMatches):
            self.call_later(screen.get_child_by_type(ToastRack).show, shown)

    def _handle_exception(self, error: Exception) -> None:
        if not self.continues_after(error):
            super()._handle_exception(error)

    def _fatal_error(self) -> None:
        self._exit_renderables.append(self.fatal_message())
        self._close_messages_no_wait()


def stop_watching(widget: Widget) -> None:
    """Make the application drop a widget that watches its attributes, which would keep the removed widget in memory."""
    watchers: dict[str, list[tuple[object, object]]] = getattr(widget.app, "__watchers", {})
    for watching in watchers.values():
        watching[:] = [entry for entry in watching if entry[0] is not widget]
