"""The base of both applications: start and end, keys, themes, messages, and the commands of the group Program."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import os
import sys
import traceback
from abc import abstractmethod
from collections.abc import Callable, Container, Coroutine, Mapping
from typing import Any, ClassVar

from textual import events
from textual.actions import ActionParseResult
from textual.app import App
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.dom import DOMNode
from textual.notifications import Notifications
from textual.widget import Widget
from textual.widgets._toast import ToastRack
from textual.worker import WorkerFailed

from paragone import ParagoneError
from paragone_tui import key_order, keys
from paragone_tui.terminal import clipboard, driver
from paragone_tui.terminal.changed_rows_screen import ChangedRowsScreen
from paragone_tui.terminal.themes import ANSI, DEFAULT, themes
from paragone_workbench.config.settings import Config
from paragone_workbench.config.state import State

_SOON_S = 0.01
"""Smallest duration in seconds of a message's timer. Textual divides by the duration, so 0 is not possible."""
LEAVING_S = 6.0
"""Seconds that the program waits at most for saving before it ends; one attempt to open the history takes less."""
_NOT_SAVED = f"Not everything was saved: the history could not be written to within {LEAVING_S:.0f} s."


class ProgramApp(App[None]):
    """Shows a first screen, which a subclass creates, and begins the work once it is painted. Survives internal errors."""

    TITLE = "paragone"
    ENABLE_COMMAND_PALETTE: ClassVar[bool] = False  # the program's own palette shows the keys of `COMMANDS`
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", id="quit", show=False, priority=True)
    ]
    # On a screen without a row for messages, messages appear at the top, because streamed text appears at the bottom.
    CSS = "Toast { max-width: 80; } ToastRack { dock: top; margin: 1 0 0 0; }"

    def __init__(self, *, config: Config, state: State) -> None:
        # Without colours, Textual would write shades of grey.
        super().__init__(driver_class=driver.TerminalDriver, ansi_color="NO_COLOR" in os.environ or None)
        self.exit_messages: list[str] = []
        self.is_unmounted = False
        self.is_closing = False
        """Whether the program is closing its engines and files before it ends, while the screen is still shown."""
        self.ui = config.ui
        self._set_theme(config)
        self._local_servers = config.network.local_servers
        self.state = state
        self.keys = keys.active_keys(config.keys)
        self._saving: set[asyncio.Task[None]] = set()
        self._early_input: list[events.Event] | None = []
        """Keys and pastes that arrived before the screen had a field; None once the screen has a field."""
        urgent = (*self.keys["stop"].both, *self.keys["quit"].both)
        self.key_order = key_order.KeyOrder(
            self,
            self._key_target,
            super().on_event,
            lambda groups: self._saving | self.running_workers(groups),
            urgent,
        )
        self.set_keymap(keys.key_map(self.keys))

    @abstractmethod
    def begin_work(self) -> None:
        """Begin the work that must not delay the first paint."""

    @abstractmethod
    async def close_all(self) -> None:
        """Close the engines and the history, whatever ends the program, and save all unsaved changes."""

    async def may_leave(self) -> bool:
        """Return whether the program may quit now. If the program may not quit, show why."""
        return True

    def after_screen(self) -> None:
        """Print last messages and ask last questions on the terminal, after the screen is closed."""

    @property
    def begins_with_dialog(self) -> bool:
        """Whether the work begins with a dialog over the first screen. Keys that were typed earlier go to the dialog."""
        return False

    def run_until_quit(self) -> int:
        """Run until the user quits, and return the exit code. The last messages go to standard error."""
        driver.end_with_terminal(0)
        self.run()
        for message in self.exit_messages:
            sys.stderr.write(f"paragone: {message}\n")
        status = self.return_code or 0
        if status < driver.ENDED_BY_SIGNAL:  # after a signal, there may be no user to answer questions
            driver.end_by_signals()
            self.after_screen()
        return status

    def on_mount(self) -> None:
        loop = self._main_loop = asyncio.get_running_loop()
        loop.set_exception_handler(self.report_internal_error)
        self.theme_changed_signal.subscribe(self, lambda theme: self._keep_theme(theme.name))
        self.app_resume_signal.subscribe(self, self._repaint)
        self.screen_change_signal.subscribe(self, lambda _: self.key_order.look_again(), immediate=True)
        self.call_after_refresh(self._begin)

    def _set_theme(self, config: Config) -> None:
        for theme in themes(config.themes):
            self.register_theme(theme)
        name = config.ui.theme
        if self.no_color:
            name = ANSI
        elif name is None or name not in self.available_themes:
            name = ANSI if self.console.color_system in (None, "standard") else DEFAULT
        # Setting the theme after the application has begun computes all styles a second time.
        self.set_reactive(App.theme, name)
        dark = self.current_theme.dark
        self.set_class(dark, "-dark-mode", update=False)
        self.set_class(not dark, "-light-mode", update=False)
        self.set_class(True, f"-theme-{name}", update=False)
        self._refresh_truecolor_filter(self.ansi_theme)
        self.stylesheet.set_variables(self.get_css_variables())

    def _keep_theme(self, theme: str) -> None:
        if theme != self.ui.theme:
            with contextlib.suppress(ParagoneError):
                self.state.set_theme(theme)

    def _repaint(self, _: object) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, ChangedRowsScreen):
                screen.repaint()

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded:
            if self._early_input is not None:
                self._early_input.append(event)
                return
            await self.key_order.take(event)
        else:
            await super().on_event(event)

    def _key_target(self) -> DOMNode:
        """Return the widget with the focus. Without one, first focus the screen's field, or Textual would drop the key."""
        self.app_focus = True
        self.screen._update_auto_focus()
        return self.focused or self.screen

    def running_workers(self, groups: Container[str]) -> set[asyncio.Task[None]]:
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

    async def _handle_early_input(self) -> None:
        early, self._early_input = self._early_input or (), None
        for event in early:
            await self.key_order.take(event)

    async def _begin(self) -> None:
        if self.begins_with_dialog:
            self._begin_work()
            self.screen.call_later(self.call_later, self._handle_early_input)  # once the dialog has its field
            return
        await self._handle_early_input()
        self.call_after_refresh(self._begin_work)

    def _begin_work(self) -> None:
        # Full collections then skip the modules and the screen, which live until the program ends.
        gc.freeze()
        gc.enable()
        self.begin_work()

    def action_palette(self) -> None:
        from paragone_tui.widgets.palette import entries, show_palette

        show_palette(self, entries(self, self.screen, self.keys))

    def action_change_theme(self) -> None:
        from paragone_tui.widgets.palette import show_palette, theme_entries

        show_palette(self, theme_entries(self))

    def action_help(self) -> None:
        """Show the help, or close it if it is on top; if it is behind a dialog, do nothing."""
        from paragone_tui.widgets.modal import Modal
        from paragone_tui.widgets.palette import HelpScreen

        if isinstance(self.screen, HelpScreen):
            self.screen.dismiss()
        elif not any(isinstance(screen, HelpScreen) for screen in self.screen_stack):
            self.push_screen(
                HelpScreen(self.keys, self.screen.HELP if isinstance(self.screen, Modal) else "")
            )

    def action_offline(self) -> None:
        from paragone_workbench.config.network import switch

        self.say(switch(allows_loopback=self._local_servers))
        for screen in self.screen_stack:
            if isinstance(screen, ChangedRowsScreen):
                screen.network_changed()

    async def action_quit(self) -> None:
        self.run_worker(self._leave(), group="leaving")

    async def _leave(self) -> None:
        if await self.may_leave():
            self.exit()

    def action_help_quit(self) -> None:
        """Show which key quits the program. Textual calls this on Ctrl+C if Ctrl+C has no other meaning."""
        self.say(f"{self.keys['quit'].first} quits.")

    def action_suspend(self) -> None:
        if not (isinstance(self._driver, driver.TerminalDriver) and self._driver.suspend()):
            self.say("There is no shell to return to: no shell with job control started the program.")

    async def edit_text(self, text: str) -> str | None:
        """Return a text as the user's editor has saved it; None if the text is unchanged. Raises ParagoneError."""
        lent = (
            self._driver.lent if isinstance(self._driver, driver.TerminalDriver) else contextlib.nullcontext
        )
        return await clipboard.edit_in_editor(text, lent)

    def copy(self, text: str) -> None:
        """Copy text to the clipboard and show a message. A text that is too long for terminals goes to a file."""
        self.copy_to_clipboard(text)
        if clipboard.can_be_copied(text):
            self.say(f"Copied {len(text):,} characters.")

    def copy_to_clipboard(self, text: str) -> None:
        self._clipboard = text
        if clipboard.can_be_copied(text):
            self.run_worker(self._copy(text), group="clipboard")
        else:
            self.copy_to_file(text)

    async def _copy(self, text: str) -> None:
        if not await clipboard.give_to_tmux(text) and self._driver is not None:
            self._driver.write(clipboard.copy_sequence(text, os.environ))

    def copy_to_file(self, text: str) -> None:
        try:
            path = clipboard.write_file(text)
        except ParagoneError as error:
            self.complain(error)
        else:
            self.say(f"{len(text):,} characters are written to {path}.")

    def save(self, work: Coroutine[None, None, None]) -> None:
        """Run a coroutine that saves something, in the background. Until it has finished, the program does not exit, and
        key presses wait."""
        # Not a Textual worker: Textual cancels workers before the application unmounts.
        task = asyncio.create_task(work)
        self._saving.add(task)
        task.add_done_callback(self._saving.discard)

    async def on_unmount(self) -> None:
        self.is_unmounted = True  # `_exit` stays False if an error ended the program
        if self._saving and (await asyncio.wait(self._saving, timeout=LEAVING_S))[1]:
            self.exit_messages.append(_NOT_SAVED)
        await self.close_all()

    # Messages and errors

    def say(self, message: str, *, warning: bool = False) -> None:
        self.notify(
            message,
            severity="warning" if warning else "information",
            timeout=10 if warning else 4,
            markup=False,
        )

    def remove_message(self, message: str) -> None:
        for notification in [*self._notifications]:
            if notification.message == message:
                self._unnotify(notification)

    def _refresh_notifications(self) -> None:
        screen = self.screen_stack[-1] if self.screen_stack else None
        if not isinstance(screen, ChangedRowsScreen):
            return
        newest = next(reversed([*self._notifications]), None)
        if not screen.shows_message(newest):
            self._show_toasts(screen)
        elif newest is not None:
            self.set_timer(max(_SOON_S, newest.time_left), self._refresh_notifications)

    def _show_toasts(self, screen: ChangedRowsScreen[Any]) -> None:
        """Show messages that are newer than the screen. The user has seen earlier messages, which would cover the screen."""
        shown = Notifications()
        for notification in (it for it in self._notifications if it.raised_at >= screen.opened_at):
            shown.add(notification)
        with contextlib.suppress(NoMatches):
            self.call_later(screen.get_child_by_type(ToastRack).show, shown)

    def complain(self, error: ParagoneError) -> None:
        """Show an error that does not belong to a lane. While the program ends, add the error to `exit_messages`."""
        if self.is_leaving or self.is_closing:
            self.exit_messages.append(str(error))
            return
        self.notify(str(error), severity="error", timeout=12, markup=False)

    async def run_and_report_errors(self, work: Callable[[], Coroutine[None, None, None]]) -> None:
        try:
            await work()
        except ParagoneError as error:
            self.complain(error)

    @property
    def is_leaving(self) -> bool:
        """Whether the program is about to end, so that the widgets may be gone."""
        return self._exit or self.is_unmounted

    async def run_action(
        self,
        action: str | ActionParseResult,
        default_namespace: DOMNode | None = None,
        namespaces: Mapping[str, DOMNode] | None = None,
    ) -> bool:
        """Run an action, and return whether the action exists. Report exceptions, at which Textual would end the program."""
        try:
            return await super().run_action(action, default_namespace, namespaces)
        except Exception as error:  # noqa: BLE001 (the last chance to catch an exception of a key's action)
            self.report_internal_error(asyncio.get_running_loop(), {"exception": error})
            return True

    def report_internal_error(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        from paragone_workbench.engines.failures import crash_report

        error = context.get("exception")
        text = "".join(traceback.format_exception(error)) if error else str(context.get("message"))
        self.say(f"An internal error occurred, and the program continues; {crash_report(text)}", warning=True)

    def _handle_exception(self, error: Exception) -> None:
        """Survive errors of Textual's workers, and at the end NoMatches: a dialog that was just opened never gets its
        widgets."""
        if isinstance(error, WorkerFailed):
            self.report_internal_error(asyncio.get_running_loop(), {"exception": error.error})
        elif not (isinstance(error, NoMatches) and self._exit):
            super()._handle_exception(error)

    def _fatal_error(self) -> None:
        """End with a short message on the terminal; write the traceback to a file, for a bug report."""
        from rich.text import Text

        from paragone_workbench.engines.failures import crash_report

        report = crash_report(traceback.format_exc())
        message = Text(f"paragone: An internal error ended the program. Conversations are saved; {report}")
        self._exit_renderables.append(message)
        self._close_messages_no_wait()
