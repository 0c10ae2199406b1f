"""The base of both applications: start and end, keys, themes, and the commands of the group Program."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from abc import abstractmethod
from collections.abc import Coroutine
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType

from paragone import ParagoneError
from paragone_tui.garbage import begin_collecting
from paragone_tui.history_opening import LEAVING_S
from paragone_tui.keys import key_map, keys_in_force, readable
from paragone_tui.painting.changed_rows_screen import ChangedRowsScreen
from paragone_tui.reporting import ReportingApp
from paragone_tui.screen_settings import known_keys
from paragone_tui.terminal.hangup import end_with_terminal
from paragone_workbench.config.settings import Config
from paragone_workbench.config.state import State

__all__ = ["ProgramApp"]

HANG_S = 1.0
"""Seconds to wait for a screen before the program quits."""


class ProgramApp(ReportingApp):
    """Shows a first screen, which a subclass creates, and begins its work once that is painted."""

    TITLE = "paragone"
    ENABLE_COMMAND_PALETTE: ClassVar[bool] = False  # ours has the keys of `COMMANDS`
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", id="quit", show=False, priority=True)
    ]
    # Messages are at the top, where they cover neither the composer nor the text that streams in.
    CSS = "Toast { max-width: 80; } ToastRack { dock: top; margin: 1 0 0 0; }"

    def __init__(self, *, config: Config, state: State) -> None:
        super().__init__()
        self.ui = config.ui
        self.state = state
        self.keys = keys_in_force(known_keys(config))
        self._saving: set[asyncio.Task[None]] = set()
        self._early: list[events.Event] | None = []
        """What was typed before a field could take it; None once it can."""
        self.set_keymap(key_map(self.keys))

    @abstractmethod
    def begin_work(self) -> None:
        """Begin what the first paint need not wait for."""

    @abstractmethod
    async def close_all(self) -> None:
        """Close what was opened, for whatever reason the program ends. Everything is saved."""

    def expect_prompt(self) -> None:
        """Prepare for a prompt that was sent before the first screen could take it."""

    def run_until_quit(self) -> int:
        """Run until the user quits, and return the exit code. The last messages go to standard error."""
        end_with_terminal(0)
        self.run()
        for sentence in self.exit_messages:
            sys.stderr.write(f"paragone: {sentence}\n")
        return self.return_code or 0

    def on_mount(self) -> None:
        """Install the handlers and the theme; start the rest once the screen is painted."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self.report_internal_error)
        for number in (signal.SIGTERM, signal.SIGQUIT):  # a normal exit restores the terminal
            loop.add_signal_handler(number, self.exit, None, 128 + number)
        theme = self.ui.theme
        if theme is not None and theme in self.available_themes:
            self.theme = theme
        self.theme_changed_signal.subscribe(self, lambda theme: self._keep_theme(theme.name))
        self.app_resume_signal.subscribe(self, self._repaint)
        self.call_after_refresh(self._begin)

    def _keep_theme(self, theme: str) -> None:
        if theme != self.ui.theme:
            with contextlib.suppress(ParagoneError):
                self.state.set_theme(theme)

    def _repaint(self, _: object) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, ChangedRowsScreen):
                screen.repaint()
            else:
                screen.refresh()

    async def on_event(self, event: events.Event) -> None:
        """Give what is typed to the screen's field, and keep what is typed before there is one.

        Textual would drop it if nothing has the focus: before the first paint, after a mouse event outside
        the terminal, and while the window is in the background.
        """
        if isinstance(event, (events.Key, events.Paste)) and not event.is_forwarded:
            if self._early is not None:
                self._early.append(event)
                return
            self.app_focus = True
            self.focus_field()
        await super().on_event(event)

    async def _take_early(self) -> None:
        while self._early:
            await super().on_event(self._early.pop(0))
        self._early = None

    async def _begin(self) -> None:
        if any(isinstance(event, events.Key) and event.key == "enter" for event in self._early or ()):
            self.expect_prompt()
        await self._take_early()
        self.call_after_refresh(self._begin_work)  # what was typed is painted first

    def _begin_work(self) -> None:
        begin_collecting()
        self.begin_work()

    def action_palette(self) -> None:
        """Show the command palette, unless it is open."""
        from paragone_tui.widgets.palette import entries, show_palette

        show_palette(self, entries(self, self.screen))

    def action_change_theme(self) -> None:
        """Show the palette of themes."""
        from paragone_tui.widgets.palette import show_palette, themes

        show_palette(self, themes(self))

    def action_help(self) -> None:
        """Show the help, or close it. If other dialogs cover it, it is not shown again."""
        from paragone_tui.screens.help_screen import HelpScreen
        from paragone_tui.widgets.modal import Modal

        if isinstance(self.screen, HelpScreen):
            self.screen.dismiss()
        elif not any(isinstance(screen, HelpScreen) for screen in self.screen_stack):
            first = self.screen.HELP if isinstance(self.screen, Modal) else ""
            self.push_screen(HelpScreen(self.keys, first))

    async def action_quit(self) -> None:
        """Quit once the screen has handled the keys that were typed before, as a vote; it may hang, though."""
        self.screen.call_later(self.exit)
        self.set_timer(HANG_S, self.exit)

    def action_help_quit(self) -> None:
        """Show which key quits the program: Ctrl+C where it has no other meaning."""
        self.say(f"{readable(self.keys['quit'].all[:1])} quits.")

    def copy_to_clipboard(self, text: str) -> None:
        """Copy text to the clipboard with OSC 52, and through tmux if the program runs in it."""
        from paragone_tui.terminal.clipboard import give_to_tmux

        super().copy_to_clipboard(text)
        self.run_worker(give_to_tmux(text), group="clipboard")

    def save(self, work: Coroutine[None, None, None]) -> None:
        """Run a coroutine that saves something, in the background. The program does not end before it has."""
        # Not a Textual worker: workers are cancelled before the application unmounts.
        task = asyncio.create_task(work)
        self._saving.add(task)
        task.add_done_callback(self._saving.discard)

    async def on_unmount(self) -> None:
        """Wait until everything is saved, and close what was opened."""
        self.is_unmounted = True  # also if an error ended the program
        if self._saving:
            await asyncio.wait(self._saving, timeout=LEAVING_S)
        await self.close_all()
