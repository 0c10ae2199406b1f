"""The engines that the user can pick: those of config.toml, and those that were added on the screen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from paragone import InputError, ParagoneError
from paragone_workbench.config.state import State, add_engine, add_preset, remove_engine
from paragone_workbench.engines.definitions import EngineDefinition, to_spec
from paragone_workbench.engines.handle import EngineHandle, EngineObserver

if TYPE_CHECKING:
    from paragone import Backend, LoadedModel
    from paragone_workbench.config.presets import Preset
    from paragone_workbench.config.settings import Config
    from paragone_workbench.lanes.session import Session


@dataclass(eq=False)
class EngineList:
    """Saves engines and which of them are in the lanes, and the presets and templates that the user makes."""

    config: Config
    """The settings, with the engines that were added."""
    state: State
    session: Session
    complain: Callable[[ParagoneError], None]
    remembers: bool
    """Whether the next start has the same lanes."""
    asks_servers: bool
    """Whether servers on this machine that no engine names are asked for their models."""

    def remember_lanes(self) -> None:
        """Save the engines of the lanes for the next start."""
        if self.remembers and all(map(self.session.registry.knows, self.session.backends)):
            with contextlib.suppress(ParagoneError):  # not worth a message
                self.state.remember_lanes(self._spec(lane.engine) for lane in self.session.lanes)

    def _spec(self, engine: EngineHandle) -> str:
        """Return the command-line argument that specifies an engine: its name, also if it runs with other options."""
        definition = engine.definition
        named = self.config.engines.get(definition.name)
        if named is not None and replace(named, options=definition.options) == definition:
            return definition.name
        return to_spec(definition, engine.backend)

    def keep_once_open(self, engine: EngineHandle, definition: EngineDefinition) -> None:
        """Save an engine that the user wrote, once it is open, so that it is listed and has a name."""
        engine.observers.append(_Keeping(definition, self._keep))

    def _keep(self, engine: EngineHandle) -> None:
        try:
            self.save(engine.definition, engine.backend)
        except ParagoneError as error:
            self.complain(error)
        self.remember_lanes()  # by the engine's name

    def save(self, definition: EngineDefinition, backend: Backend | None) -> str:
        """Save an engine without its secrets, and return its name; see `add_engine`. Raises ParagoneError."""
        before = self.config.added
        self.config = add_engine(self.config, self.state, definition, backend)
        return next(iter(self.config.added - before), definition.name)

    def save_preset(self, preset: Preset) -> str:
        """Save a preset, and return its name; see `add_preset`. Raises ParagoneError."""
        kept = add_preset(self.config, self.state, preset)
        self.config = replace(self.config, presets={**self.config.presets, kept.name: kept})
        return kept.name

    def remove_preset(self, name: str) -> None:
        """Remove a preset that was saved on the screen. Raises ParagoneError, and InputError for another one."""
        preset = self.config.presets.get(name)
        if preset is None or self.state.saved.presets.get(name) != preset:
            raise InputError(
                f"No preset {name!r} was saved here.", hint="Those of config.toml are removed there."
            )
        self.state.remove_preset(name)
        kept = {key: preset for key, preset in self.config.presets.items() if key != name}
        self.config = replace(self.config, presets=kept)

    def save_template(self, name: str, text: str) -> None:
        """Save a template. Raises ParagoneError."""
        self.state.save_template(name, text)
        self.config = replace(self.config, templates={**self.config.templates, name: text})

    def remove_template(self, name: str) -> None:
        """Remove a template that was saved on the screen. Raises ParagoneError."""
        self.state.remove_template(name)
        kept = {key: text for key, text in self.config.templates.items() if key != name}
        self.config = replace(self.config, templates=kept)

    def remove(self, name: str) -> bool:
        """Remove an engine that was added, and return whether it is removed; show the error if it is not."""
        try:
            self.config = remove_engine(self.config, self.state, name)
        except ParagoneError as error:
            self.complain(error)
            return False
        return True


@dataclass(eq=False)
class _Keeping(EngineObserver):
    """Calls `keep` the first time that an engine is open with this definition."""

    definition: EngineDefinition
    keep: Callable[[EngineHandle], None]

    def engine_opened(self, engine: EngineHandle, loaded: LoadedModel) -> None:
        """Keep the engine and stop observing, unless another one was opened instead."""
        if engine.definition == self.definition:
            engine.observers.remove(self)
            self.keep(engine)
