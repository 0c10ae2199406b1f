"""The Textual application: startup, shutdown, and what all screens share."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
from collections.abc import Callable, Coroutine, Sequence
from typing import TYPE_CHECKING, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.screen import Screen

from paragone import ParagoneError
from paragone_tui.garbage import begin_collecting
from paragone_tui.history_opening import LEAVING_S, HistoryOpening
from paragone_tui.keys import key_map, keys_in_force, readable
from paragone_tui.painting.screen import ThriftyScreen
from paragone_tui.reporting import ReportingApp
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

if TYPE_CHECKING:
    from paragone import Backend, Image
    from paragone_tui.screens.engines.picker import Picked
    from paragone_tui.screens.history.picker import Found
    from paragone_workbench.store.history import History
    from paragone_workbench.store.records import Hit

__all__ = ["ParagoneApp", "run_screen"]

HANG_S = 1.0
"""Seconds to wait for a screen before the program quits."""


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
    """Run the application until the user quits, and return the exit code.

    `definitions` are the engines to start with; None means those of the config, else of the last session.
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
    for sentence in app.exit_messages:
        sys.stderr.write(f"paragone: {sentence}\n")
    return app.return_code or 0


def _import_for_answers() -> None:
    """Import what the first answer needs, while the user still types the prompt."""
    import paragone_tui.transcript.markdown  # noqa: F401 (so that they are loaded)
    import paragone_workbench.runs.execute  # noqa: F401


class ParagoneApp(ReportingApp):
    """Owns the session, the history and the screens."""

    TITLE = "paragone"
    ENABLE_COMMAND_PALETTE: ClassVar[bool] = False  # ours has the keys of `COMMANDS`
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", id="quit", show=False, priority=True)
    ]
    # Messages are at the top, where they cover neither the composer nor the text that streams in.
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
        self.keys = keys_in_force(known_keys(config))
        self.registry = registry
        self._saving: set[asyncio.Task[None]] = set()
        self._early: list[events.Event] | None = []
        """What was typed before the composer could take it; None once it can."""
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
        self._history = HistoryOpening(
            self._session,
            say=lambda sentence, warning: self.say(sentence, warning=warning),
            complain=self.complain,
        )
        self._problems: list[str] = [*config.warnings, *map(str, problems(config))]
        for definition in self._first(definitions):
            self._session.add_lane(definition)
        self.set_keymap(key_map(self.keys))

    def _first(self, definitions: Sequence[EngineDefinition] | None) -> Sequence[EngineDefinition]:
        if definitions is not None or self._demo:
            return definitions or ()
        try:
            return resolve_all(self.config.lanes.start, self.config.engines)
        except ParagoneError as error:
            self._problems.append(str(error))
            return ()

    @property
    def history(self) -> History | None:
        """The history, once it is open."""
        return self._history.history

    def get_default_screen(self) -> Screen[None]:
        """Create and return the screen of the lanes."""
        self.lanes = LanesScreen(self._session, markdown=self.config.ui.markdown)
        return self.lanes

    def on_mount(self) -> None:
        """Install the handlers and the theme; start the rest once the screen is painted."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(self.report_internal_error)
        for number in (signal.SIGTERM, signal.SIGQUIT):  # a normal exit restores the terminal
            loop.add_signal_handler(number, self.exit, None, 128 + number)
        self._set_theme()
        self.theme_changed_signal.subscribe(self, lambda theme: self._keep_theme(theme.name))
        self.app_resume_signal.subscribe(self, self._repaint)
        self.call_after_refresh(self._begin)

    def _repaint(self, _: object) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, ThriftyScreen):
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
            self._session.open_engines_soon()  # a prompt that was sent already waits for them
        await self._take_early()
        self.call_after_refresh(self._begin_work)  # what was typed is painted first

    def _begin_work(self) -> None:
        begin_collecting()
        for problem in filter(None, (*self._problems, self.state.warning)):
            self.say(problem, warning=True)
        self._history.begin()
        if self._demo and not self._session.lanes:
            self.lanes.add_demo()
        elif self._session.lanes:
            self._session.open_engines_soon()
        else:
            self.lanes.action_add_lane()
        self.lanes.do(self._use_backends)

    async def _use_backends(self) -> None:
        """Do what the first paint need not wait for: it takes the backends' plugins, which are imported now."""
        await self.registry.load(self._session.backends)
        self.lanes.lay_out_lanes()  # with the options that are set
        self.remember_lanes()
        exposed = await asyncio.to_thread(permission_warning, self.config.document, self.registry.find)
        if exposed:
            self.say(exposed, warning=True)
        await self._session.opened()
        await asyncio.to_thread(_import_for_answers)

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
        from paragone_tui.screens.help.screen import HelpScreen
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

    # Services for the screens

    def pick_engine(
        self, then: Callable[[Picked | None], None], *, offers_demo: bool = True, advice: str = ""
    ) -> None:
        """Show the engine picker. `then` is called with what was picked, or None if the user picked nothing."""
        from paragone_tui.screens.engines.picker import EnginePicker

        picker = EnginePicker(
            self.config, self.registry, remove=self._remove_engine, offers_demo=offers_demo, advice=advice
        )
        self.push_screen(picker, then)

    def pick_images(self, images: tuple[Image, ...], then: Callable[[tuple[Image, ...]], None]) -> None:
        """Show the image picker, which adds to the attached `images` or removes one.

        `then` is called with the new attachments, unless the user picked nothing.
        """
        from paragone_tui.screens.images.picker import ImagePicker

        self.push_screen(ImagePicker(images), lambda picked: then(picked) if picked is not None else None)

    def pick_conversation(self, then: Callable[[int, Hit | None], None]) -> None:
        """Show the picker of earlier conversations, or a message if the history is not open.

        `then` is called with the conversation's id, and what a search found in it, if the user picks one.
        """
        if self.history is None:
            self.say(self._history.problem, warning=True)
            return
        from paragone_tui.screens.history.picker import ConversationPicker

        def picked(found: Found | None) -> None:
            if found is not None:
                then(*found)

        self.push_screen(ConversationPicker(self.history, self._session), picked)

    def remember_lanes(self) -> None:
        """Save the current engines for the next start, except in a demo."""
        if self._remembers and all(map(self.registry.knows, self._session.backends)):
            with contextlib.suppress(ParagoneError):  # not worth a message
                self.state.remember_lanes(self._spec(lane.engine) for lane in self._session.lanes)

    def _spec(self, engine: EngineHandle) -> str:
        """Return the command-line argument that specifies an engine."""
        definition = engine.definition
        if self.config.engines.get(definition.name) == definition:
            return definition.name
        return to_spec(definition, engine.backend)

    def keep_once_open(self, engine: EngineHandle, definition: EngineDefinition) -> None:
        """Save an engine that the user wrote, once it is open, so that it is listed and has a name."""
        from paragone_tui.screens.engines.keeping import Keeping

        engine.observers.append(Keeping(definition, self._keep_engine))

    def _keep_engine(self, engine: EngineHandle) -> None:
        try:
            self.save_engine(engine.definition, engine.backend)
        except ParagoneError as error:
            self.complain(error)
        self.remember_lanes()  # by the engine's name

    def save_engine(self, definition: EngineDefinition, backend: Backend | None) -> str:
        """Save an engine without its secrets, and return its name; see `add_engine`. Raises ParagoneError."""
        from paragone_workbench.config.added import add_engine

        before = self.config.added
        self.config = add_engine(self.config, self.state, definition, backend)
        return next(iter(self.config.added - before), definition.name)

    def _remove_engine(self, name: str) -> bool:
        from paragone_workbench.config.added import remove_engine

        try:
            self.config = remove_engine(self.config, self.state, name)
        except ParagoneError as error:
            self.complain(error)
            return False
        return True

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
        """Close the engines and the history, for whatever reason the program ends."""
        self.is_unmounted = True  # also if an error ended the program
        self.remember_lanes()
        if self._saving:
            await asyncio.wait(self._saving, timeout=LEAVING_S)
        await self._history.end()
        await self._session.close()
        if self.history is not None:
            await self.history.close()

    # Themes and keys

    def _set_theme(self) -> None:
        theme = self.config.ui.theme
        if theme is not None and theme in self.available_themes:
            self.theme = theme

    def _keep_theme(self, theme: str) -> None:
        if theme != self.config.ui.theme:
            with contextlib.suppress(ParagoneError):
                self.state.set_theme(theme)
