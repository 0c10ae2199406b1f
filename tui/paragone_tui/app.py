"""The application of the lanes: opens the history and the engines, and saves what is unsaved at the end."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from textual.screen import Screen

from paragone import ParagoneError
from paragone.threads import run_in_thread
from paragone_tui import engine_list, history_opening, keys, program_app
from paragone_tui.screens.lanes import engine_commands, prompt_commands
from paragone_tui.screens.lanes.lanes_screen import LanesScreen
from paragone_workbench.config.settings import Config, Mode, permission_warning
from paragone_workbench.config.state import State
from paragone_workbench.engines.definitions import EngineDefinition, resolve_all
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.session import Session
from paragone_workbench.store.errors import StoreError
from paragone_workbench.store.saving import History

if TYPE_CHECKING:
    from paragone_workbench.config.settings import Preset


def import_for_answers() -> None:
    """Import what the first answer needs. Called in a thread, while the user still types the prompt."""
    import paragone_tui.transcript.markdown  # noqa: F401 (loads the module)
    import paragone_workbench.runs.execute  # noqa: F401


class ParagoneApp(program_app.ProgramApp):
    """Owns the session, the history and the screens. `definitions` None means the engines of config.toml or of the last
    session."""

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
        given: Sequence[str] = (),
        preset: Preset | None = None,
    ) -> None:
        super().__init__(config=config, state=state)
        self.registry = registry
        self._demo = demo
        self._may_resume = config.chat.resume and definitions is None and not demo
        self._is_shared = False
        """Whether another instance has the history open when this instance ends: the next instance then does not
        resume a conversation."""
        self._session = Session(
            self.registry,
            system=system,
            mode=mode,
            engines=config.engines,
            on_problem=self.complain,
            on_saved_again=lambda: self.say("The history works again; everything is saved."),
        )
        self.engines = engine_list.EngineList(
            config,
            state,
            self._session,
            self.complain,
            remembers=not demo,
            asks_servers=config.network.local_servers,
            given=given,
            preset=preset,
        )
        self.history_opening = history_opening.HistoryOpening(self._session, self)
        self._has_warned = False
        """Whether the user has seen the warning that the unsent prompt cannot be saved."""
        self._problems: list[str] = [*config.warnings, *map(str, keys.problems(config))]
        for definition in self._starting_definitions(config, definitions):
            self._session.add_lane(definition)

    def _starting_definitions(
        self, config: Config, definitions: Sequence[EngineDefinition] | None
    ) -> Sequence[EngineDefinition]:
        if definitions is not None or self._demo:
            return definitions or ()
        try:
            return resolve_all(config.lanes.start, config.engines)
        except ParagoneError as error:
            self._problems.append(str(error))
            return ()

    @property
    def history(self) -> History | None:
        return self.history_opening.history

    def get_default_screen(self) -> Screen[None]:
        self.lanes = LanesScreen(
            self._session, self, self.engines, self.history_opening, engine_commands.LANE_COMMANDS
        )
        return self.lanes

    @property
    def begins_with_dialog(self) -> bool:
        return not (self._session.lanes or self._demo)

    def begin_work(self) -> None:
        self.history_opening.begin(self._resume)
        if self._demo and not self._session.lanes:
            engine_commands.add_demo(self.lanes)
        elif self._session.lanes:
            self.lanes.begin(self._open_engines)
        else:
            self.lanes.has_begun.set()
            engine_commands.add_lane(self.lanes)
        # Messages come last: the keys that the user presses after a message then go to the dialog.
        for problem in filter(None, (*self._problems, self.state.warning)):
            self.say(problem, warning=True)
        self.lanes.begin(self._use_backends)

    async def _open_engines(self) -> None:
        """Open the engines with the options of the conversation that may be resumed. Prompts wait until then."""
        if self._may_resume:
            await self.history_opening.first_attempt()
        self._session.open_engines_soon()
        self.lanes.has_begun.set()

    async def _resume(self) -> None:
        """Resume the last conversation, or offer one that was interrupted, then put the unsent prompt back."""
        await self.registry.load(self._session.backends)
        await engine_commands.resume_last(self.lanes, may_resume=self._may_resume)
        draft = await engine_commands.restore_draft(self.lanes)
        if draft is not None and draft.edits:
            prompt_commands.resume_edit(self.lanes, draft.edits)

    async def _use_backends(self) -> None:
        """Import the backends' plugins after the first paint, and do the work that needs the plugins."""
        await self.registry.load(self._session.backends)
        self.lanes.lanes.lay_out()  # now the headers can show the set options
        warning = partial(permission_warning, self.engines.config.document, self.registry.find)
        exposed = await run_in_thread(warning)  # in a thread: looking for secrets may import plugins
        if exposed:
            self.say(exposed, warning=True)
        await self.lanes.has_begun.wait()
        await self._session.opened()
        self.engines.remember_lanes()
        await asyncio.to_thread(import_for_answers)

    async def may_leave(self) -> bool:
        """Save the unsent prompt and the conversation. Return False once, with a warning, if the prompt cannot be saved."""
        if self._has_warned or self.is_closing:
            return True
        await self.history_opening.first_attempt()
        problem = await self._session.recorder.save_draft_now()
        if problem is not None:
            self._has_warned = True
            self.say(
                f"The unsent prompt cannot be saved; {self.keys['quit'].first} again quits without saving it. "
                f"{self.history_opening.problem or problem}",
                warning=True,
            )
            return False
        if (unsaved := await self._unsaved()) is not None and not self.is_closing:
            self.is_closing = True
            self.say(
                f"Not saved: {unsaved.message} The program tries again for some seconds, then offers a file; "
                f"{self.keys['quit'].first} leaves immediately.",
                warning=True,
            )
            await self.history_opening.end()
            await self._session.close()
        return True

    async def _unsaved(self) -> ParagoneError | None:
        recorder = self._session.recorder
        if self.history is None and not recorder.waits_for_history:
            return None
        return await recorder.saved(self._session.conversation) or recorder.problem

    def after_screen(self) -> None:
        """Print how to reopen the conversation, or offer files for conversations that could not be saved."""
        if losses := self._session.recorder.losses():
            history_opening.offer_files(losses, self.registry.find)
        elif (number := self._session.conversation.number) is not None:
            key = self.keys["reopen"].first.replace("^", "ctrl+")
            if self._demo:
                found = (
                    f"{key} in `paragone demo` lists it"  # without `demo`, `paragone` opens different lanes
                )
            elif self.engines.config.chat.resume and not self._is_shared:
                found = f"`paragone` resumes it with the same engines, and {key} there lists it"
            else:
                found = f"{key} in `paragone` lists it"
            with contextlib.suppress(OSError):  # the terminal may be gone
                sys.stderr.write(f"The conversation is saved as c{number}: {found}.\n")

    async def close_all(self) -> None:
        # not imported at the top, because the start does not need these modules
        from paragone_workbench.engines.engine import killing_processes_late

        self.engines.remember_lanes()
        await self.history_opening.end()
        problem = await self._session.recorder.save_draft_now()
        if problem is not None and not self._has_warned:
            self.complain(StoreError(f"The unsent prompt could not be saved. {problem}"))
        with killing_processes_late():
            await self._session.close(waits=not self.is_closing)
        if self.history is not None:
            with contextlib.suppress(StoreError):
                self._is_shared = await self.history.call(lambda store: store.is_shared)
            await self.history.close()
