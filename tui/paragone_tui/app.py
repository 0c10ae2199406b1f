"""The application with lanes: its session, its history, and its engines."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from textual.screen import Screen

from paragone import ParagoneError
from paragone_tui.history_opening import HistoryOpening
from paragone_tui.program_app import ProgramApp
from paragone_tui.screen_settings import problems
from paragone_tui.screens.lanes.screen import LanesScreen
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
    return ParagoneApp(
        config=config,
        state=state,
        registry=registry,
        definitions=definitions,
        mode=mode,
        system=system,
        demo=demo,
    ).run_until_quit()


def _import_for_answers() -> None:
    """Import what the first answer needs, while the user still types the prompt."""
    import paragone_tui.transcript.markdown  # noqa: F401 (so that they are loaded)
    import paragone_workbench.runs.execute  # noqa: F401


class ParagoneApp(ProgramApp):
    """Owns the session, the history and the screens."""

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
        super().__init__(config=config, state=state)
        self.registry = registry
        self._demo = demo
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

    def expect_prompt(self) -> None:
        """Open the engines, which the prompt already waits for."""
        self._session.open_engines_soon()

    def begin_work(self) -> None:
        """Open the history and the engines."""
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
        if not self._demo and all(map(self.registry.knows, self._session.backends)):
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

    async def close_all(self) -> None:
        """Close the engines and the history."""
        self.remember_lanes()
        await self._history.end()
        await self._session.close()
        if self.history is not None:
            await self.history.close()
