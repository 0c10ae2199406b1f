"""Undocumented parts of Textual's application."""

from __future__ import annotations

import asyncio
import contextlib
from abc import abstractmethod
from collections.abc import Container
from typing import Any

from rich.console import RenderableType
from textual.app import App
from textual.css.query import NoMatches
from textual.dom import DOMNode
from textual.driver import Driver
from textual.notifications import Notifications
from textual.widget import Widget
from textual.widgets._toast import ToastRack

from paragone_tui.textual_internals.screen import CompositorScreen

__all__ = ["OwnErrorsApp", "stop_watching"]

_SOON_S = 0.01
"""Least duration in seconds of a message's timer. Textual divides by the duration, so 0 is not possible."""


class OwnErrorsApp(App[None]):
    """An application that decides itself what an unhandled exception does."""

    @property
    def is_exiting(self) -> bool:
        """Whether `exit` was called."""
        return self._exit

    @property
    def driver(self) -> Driver | None:
        """The driver, which reads and writes the terminal; None unless the application runs."""
        return self._driver

    def remember_copied(self, text: str) -> None:
        """Store a copied text, so that fields can paste it."""
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
        """Give the focus to the field that the screen declares with `AUTO_FOCUS`, unless a widget has the focus."""
        self.screen._update_auto_focus()

    def works(self, groups: Container[str]) -> set[asyncio.Task[None]]:
        """Return the unfinished work of the present screen's workers in these groups."""
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

    def withdraw(self, sentence: str) -> None:
        """Remove a message from the screen."""
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
    """Make the application drop a widget that watches the application's attributes, as a text area watches the theme.

    Without this function, Textual keeps a removed widget, and all objects that the widget refers to, until the attribute
    changes.
    """
    watchers: dict[str, list[tuple[object, object]]] = getattr(widget.app, "__watchers", {})
    for watching in watchers.values():
        watching[:] = [entry for entry in watching if entry[0] is not widget]
