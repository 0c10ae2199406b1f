"""The program on the screen: what it starts with, and what holds for all its screens."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import App, SystemCommand
from textual.screen import Screen

from paragone import Image, ParagoneError
from paragone_tui.commands import COMMANDS, keys_in_force, readable
from paragone_tui.garbage import begin_collecting
from paragone_tui.screen_settings import known_keys, problems
from paragone_tui.screens.lanes.screen import LanesScreen
from paragone_tui.terminal.hangup import end_with_terminal
from paragone_workbench.config.permissions import permission_warning
from paragone_workbench.config.settings import Config, Mode
from paragone_workbench.config.state import State
from paragone_workbench.engines.definitions import EngineDefinition, resolve_all, to_spec
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.session import Session
from paragone_workbench.store.errors import StoreError

if TYPE_CHECKING:
    from paragone_workbench.store.history import History

__all__ = ["ParagoneApp", "run_screen"]


def run_screen(
    *,
    config: Config,
    state: State,
    registry: Registry,
    definitions: Sequence[EngineDefinition] | None,
    mode: Mode,
    system: str,
    demo: bool = False,
) -> int:
    """Show the screen until the user leaves it, and return the exit code.

    `definitions` are the engines to start with; None for those of the config, or of last time.
    """
    app = ParagoneApp(
        config=config,
        state=state,
        registry=registry,
        definitions=definitions,
        mode=mode,
        system=system,
        demo=demo,
    )
    end_with_terminal(0)
    app.run()
    for sentence in app.last_words:
        sys.stderr.write(f"paragone: {sentence}\n")
    return app.return_code or 0


RETRY_S = 2.0
"""Seconds from a failed try to open the history to the next."""
LEAVING_S = 6.0
"""Seconds to wait, when the user leaves, for a history that is still being opened: longer than one try takes."""


class ParagoneApp(App[None]):
    """Lanes of engines, side by side."""

    TITLE = "paragone"
    ENABLE_COMMAND_PALETTE: ClassVar[bool] = True
    # At the top, where they hide neither the prompt nor what is being written.
    CSS = "Toast { max-width: 80; } ToastRack { dock: top; margin: 1 0 0 0; }"

    def __init__(
        self,
        *,
        config: Config,
        state: State,
        registry: Registry,
        definitions: Sequence[EngineDefinition] | None,
        mode: Mode,
        system: str,
        demo: bool = False,
    ) -> None:
        super().__init__()
        self.config = config
        self.state = state
        self.user_keys = known_keys(config)
        self.keys = keys_in_force(self.user_keys)
        self.registry = registry
        self.history: History | None = None
        self.last_words: list[str] = []
        """What to tell the user once the screen is gone."""
        self._opening_history: asyncio.Task[None] | None = None
        self._is_leaving = False
        self._demo = demo
        self._remembers = not demo
        self._session = Session(
            self.registry,
            system=system,
            mode=mode,
            engines=config.engines,
            on_problem=self.complain,
            on_saved_again=lambda: self.say("The history works again; everything is saved."),
        )
        self._problems: list[str] = [*config.warnings, *map(str, problems(config))]
        for definition in self._first(definitions):
            self._session.add_lane(definition)
        self.set_keymap(self.user_keys)

    def _first(self, definitions: Sequence[EngineDefinition] | None) -> Sequence[EngineDefinition]:
        if definitions is not None or self._demo:
            return definitions or ()
        try:
            return resolve_all(self.config.lanes.start, self.config.engines)
        except ParagoneError as error:
            self._problems.append(str(error))
            return ()

    def get_default_screen(self) -> Screen[None]:
        """The lanes."""
        self.lanes = LanesScreen(self._session, markdown=self.config.ui.markdown)
        return self.lanes

    def on_mount(self) -> None:
        """Begin, once the screen can be seen."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self._report_mistake)
        for number in (signal.SIGTERM, signal.SIGQUIT):  # leave the terminal as it was
            loop.add_signal_handler(number, self.exit, None, 128 + number)
        self._set_theme()
        self.theme_changed_signal.subscribe(self, lambda theme: self._keep_theme(theme.name))
        self.call_after_refresh(self._begin)

    def _begin(self) -> None:
        begin_collecting()
        for problem in [*self._problems, self.state.warning]:
            if problem:
                self.say(problem, warning=True)
        exposed = permission_warning(self.config.document, self.registry.find)
        if exposed:
            self.say(exposed, warning=True)
        # Not a worker: those are cancelled before `on_unmount`.
        self._opening_history = asyncio.create_task(self._open_history())
        if self._demo and not self._session.lanes:
            self.run_worker(self._begin_demo(), group="work")
        elif self._session.lanes:
            self._session.open_engines()
            self.remember_lanes()
        else:
            self.lanes.action_add_lane()

    async def _open_history(self) -> None:
        from paragone_workbench.store.history import History  # not needed to show a screen

        failed = False
        while self.history is None:
            try:
                self.history = await History.open()
            except ParagoneError as error:
                self._session.history_not_open(error)
                if not failed:
                    self.complain(error)
                failed = True
                if not (isinstance(error, StoreError) and error.can_pass):
                    return
                await asyncio.sleep(RETRY_S)
        if self.history.warning:
            self.say(self.history.warning, warning=True)
        self._session.record(self.history)
        if failed:
            self.say("The history is open now; what was asked until now is saved, too.")

    async def _begin_demo(self) -> None:
        from paragone_workbench.inventory.demo import demo_engines

        self.lanes.welcome.update("Making the demo's second model, once …")
        try:
            engines = await demo_engines(self.registry)
            named = {definition.name: definition for definition in engines}
            self.config = dataclasses.replace(self.config, engines={**named, **self.config.engines})
            for definition in engines:
                self._session.add_lane(definition)
        except ParagoneError as error:
            self.complain(error)
        await self.lanes.rebuild()
        self._session.open_engines()

    def action_command_palette(self) -> None:
        """Show the palette."""
        from paragone_tui.widgets.modal import Palette

        if not isinstance(self.screen, Palette):
            self.push_screen(Palette(id="--command-palette"))

    def action_help_quit(self) -> None:
        """Ctrl+c: what it stops elsewhere it stops here, and says how to leave."""
        self.lanes.action_stop()
        self.say(f"{readable(self.keys['quit'][:1])} leaves.")

    # Asked for by screens

    def pick_engine(self, then: Callable[[EngineDefinition | None], None]) -> None:
        """Let the user pick an engine."""
        from paragone_tui.screens.engines.picker import EnginePicker

        self.push_screen(EnginePicker(self.config, self.registry), then)

    def pick_images(self, images: tuple[Image, ...], then: Callable[[tuple[Image, ...]], None]) -> None:
        """Let the user pick an image to go with these, or one of them to take back."""
        from paragone_tui.screens.images.picker import ImagePicker

        self.push_screen(ImagePicker(images), lambda picked: then(picked) if picked is not None else None)

    def pick_conversation(self, then: Callable[[int | None], None]) -> None:
        """Let the user pick an earlier conversation."""
        if self.history is None:
            problem = self._session.history_problem
            if self._opening_history is not None and self._opening_history.done():
                self.say("The history could not be opened: there is nothing to reopen.")
            elif problem is None:
                self.say("The history is still being opened. Try again in a moment.")
            else:
                self.say(f"The history is not open yet; the program keeps trying. {problem}", warning=True)
            return
        from paragone_tui.screens.history.picker import ConversationPicker

        self.push_screen(ConversationPicker(self.history), then)

    def remember_lanes(self) -> None:
        """Keep the present lanes for the next start."""
        if self._remembers:
            with contextlib.suppress(ParagoneError):  # the next start asks again
                self.state.remember_lanes(self._spec(lane.engine) for lane in self._session.lanes)

    def _spec(self, engine: EngineHandle) -> str:
        """Return the text that stands for an engine on a command line."""
        definition = engine.definition
        if self.config.engines.get(definition.name) == definition:
            return definition.name
        return to_spec(definition, engine.backend)

    def say(self, sentence: str, *, warning: bool = False) -> None:
        """Tell the user something."""
        self.notify(
            sentence,
            severity="warning" if warning else "information",
            timeout=10 if warning else 4,
            markup=False,
        )

    def complain(self, error: ParagoneError) -> None:
        """Tell the user of an error that belongs to no lane."""
        if self._is_leaving:
            self.last_words.append(str(error))
            return
        self.notify(str(error), severity="error", timeout=12, markup=False)

    def copy_to_clipboard(self, text: str) -> None:
        """Copy text by OSC 52, and through tmux where it runs."""
        from paragone_tui.terminal.clipboard import give_to_tmux

        super().copy_to_clipboard(text)
        self.run_worker(give_to_tmux(text), group="clipboard")

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        """What the palette lists: every command of the screen, and the themes."""
        yield SystemCommand("Theme", "Change the colours.", self.action_change_theme)
        if screen is not self.lanes:
            return
        for command in COMMANDS:
            if command.id not in ("palette", "send", "newline"):
                action = getattr(self.lanes, f"action_{command.action}")
                yield SystemCommand(command.title, command.help, action)

    async def on_unmount(self) -> None:
        """Free the engines and close the history, however the program ends."""
        self._is_leaving = True
        self.remember_lanes()
        await self._end_opening_history()
        await self._session.close()
        if self.history is not None:
            await self.history.close()

    async def _end_opening_history(self) -> None:
        """Give a history that is still being opened a last chance, if something is to be saved."""
        opening = self._opening_history
        if opening is None or opening.done():
            return
        if self._session.awaits_history:
            await asyncio.wait([opening], timeout=LEAVING_S)
        if not opening.done():
            if self._session.history_problem is None:
                self._session.history_not_open(StoreError("The history did not open in time."))
            opening.cancel()
            await asyncio.wait([opening])

    # Themes and keys

    def _set_theme(self) -> None:
        theme = self.config.ui.theme
        if theme is not None and theme in self.available_themes:
            self.theme = theme

    def _keep_theme(self, theme: str) -> None:
        if theme != self.config.ui.theme:
            with contextlib.suppress(ParagoneError):
                self.state.set_theme(theme)

    def _report_mistake(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """Tell of a mistake that ended nothing: what a listener or a forgotten task raised."""
        from paragone_workbench.engines.logs import crash_report

        error = context.get("exception")
        text = "".join(traceback.format_exception(error)) if error else str(context.get("message"))
        self.say(f"A mistake in the program; it goes on, and {crash_report(text)}", warning=True)

    def _fatal_error(self) -> None:
        """Leave with a sentence; the traceback goes to a file, for whoever mends the program."""
        from rich.text import Text

        from paragone_workbench.engines.logs import crash_report

        kept = crash_report(traceback.format_exc())
        self._exit_renderables.append(
            Text(f"paragone: A mistake in the program ended it. Conversations are kept; {kept}")
        )
        self._close_messages_no_wait()
