"""The engines that the user can pick: those of config.toml, and those that were added on the screen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from paragone import ParagoneError
from paragone_workbench.engines.definitions import EngineDefinition, to_spec

if TYPE_CHECKING:
    from paragone import Backend
    from paragone_workbench.config.settings import Config
    from paragone_workbench.config.state import State
    from paragone_workbench.engines.handle import EngineHandle
    from paragone_workbench.lanes.session import Session

__all__ = ["EngineList"]


class EngineList:
    """Saves engines, and which of them are in the lanes."""

    def __init__(
        self,
        config: Config,
        state: State,
        session: Session,
        complain: Callable[[ParagoneError], None],
        *,
        remembers: bool,
    ) -> None:
        """Create the list. `remembers` is whether the next start has the same lanes."""
        self.config = config
        """The settings, with the engines that were added."""
        self._state = state
        self._session = session
        self._complain = complain
        self._remembers = remembers

    def remember_lanes(self) -> None:
        """Save the engines of the lanes for the next start."""
        if self._remembers and all(map(self._session.registry.knows, self._session.backends)):
            with contextlib.suppress(ParagoneError):  # not worth a message
                self._state.remember_lanes(self._spec(lane.engine) for lane in self._session.lanes)

    def _spec(self, engine: EngineHandle) -> str:
        """Return the command-line argument that specifies an engine."""
        definition = engine.definition
        if self.config.engines.get(definition.name) == definition:
            return definition.name
        return to_spec(definition, engine.backend)

    def keep_once_open(self, engine: EngineHandle, definition: EngineDefinition) -> None:
        """Save an engine that the user wrote, once it is open, so that it is listed and has a name."""
        from paragone_tui.screens.engines.keeping import Keeping

        engine.observers.append(Keeping(definition, self._keep))

    def _keep(self, engine: EngineHandle) -> None:
        try:
            self.save(engine.definition, engine.backend)
        except ParagoneError as error:
            self._complain(error)
        self.remember_lanes()  # by the engine's name

    def save(self, definition: EngineDefinition, backend: Backend | None) -> str:
        """Save an engine without its secrets, and return its name; see `add_engine`. Raises ParagoneError."""
        from paragone_workbench.config.state import add_engine

        before = self.config.added
        self.config = add_engine(self.config, self._state, definition, backend)
        return next(iter(self.config.added - before), definition.name)

    def remove(self, name: str) -> bool:
        """Remove an engine that was added, and return whether it is removed; show the error if it is not."""
        from paragone_workbench.config.state import remove_engine

        try:
            self.config = remove_engine(self.config, self._state, name)
        except ParagoneError as error:
            self._complain(error)
            return False
        return True
