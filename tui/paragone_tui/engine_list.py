"""The engines that the user can pick, the options of each engine in a lane, and the engines saved for the next start."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from paragone import InputError, ParagoneError
from paragone_workbench.config.state import State, add_engine, add_preset, remove_engine
from paragone_workbench.engines.definitions import EngineDefinition, to_spec
from paragone_workbench.engines.engine import EngineTask
from paragone_workbench.lanes.settings import carried, given_options, own_options

if TYPE_CHECKING:
    from paragone import Backend, Json
    from paragone_workbench.config.settings import Config, Preset
    from paragone_workbench.lanes.session import Session


@dataclass(eq=False)
class EngineList:
    """Saves the engines that the user adds, the engines of the lanes, and the user's presets."""

    config: Config
    """The settings, including the engines that the user added on the screen."""
    state: State
    session: Session
    complain: Callable[[ParagoneError], None]
    remembers: bool
    asks_servers: bool
    given: Sequence[str] = ()
    """The options that the command line gave for all engines, as `key=value`."""
    preset: Preset | None = None
    _opened: set[str] = field(default_factory=set, init=False)

    def for_new_lane(self, definition: EngineDefinition) -> tuple[EngineDefinition, str]:
        """Return an engine with the options of the command line, and a remark on options that its backend lacks."""
        registry = self.session.registry
        backends = [registry.find(name) for name in (definition.backend, *self.session.backends)]
        known = [backend for backend in backends if backend is not None]
        preset = {} if self.preset is None else self.preset.sampling
        return self._carried({**preset, **given_options(self.given, known)}, known, definition)

    def for_lane_of(
        self, before: EngineDefinition, definition: EngineDefinition
    ) -> tuple[EngineDefinition, str]:
        backend = self.session.registry.find(before.backend)
        own = own_options(before, self.config.engines)
        return self._carried(own, [] if backend is None else [backend], definition)

    def _carried(
        self, options: Mapping[str, Json], sources: Sequence[Backend], definition: EngineDefinition
    ) -> tuple[EngineDefinition, str]:
        backend = self.session.registry.find(definition.backend)
        if backend is None:  # the lane shows that its backend is unknown
            return definition, ""
        return carried(options, sources, definition, backend)

    def remember_lanes(self) -> None:
        """Remember the lanes for the next start, except lanes whose engine could never be opened."""
        if not (self.remembers and all(map(self.session.registry.knows, self.session.backends))):
            return
        lanes = [(self._spec(lane.engine), lane.engine) for lane in self.session.lanes]
        self._opened |= {spec for spec, engine in lanes if engine.is_open}
        known = {*self.config.lanes.start, *self._opened}
        kept = [spec for spec, engine in lanes if spec in known or engine.state != "failed"]
        if kept or not lanes:
            with contextlib.suppress(ParagoneError):  # not worth a message
                self.state.remember_lanes(kept)

    def _spec(self, engine: EngineTask) -> str:
        """Return the command-line argument for an engine: its name if it is listed, even if it runs with other options."""
        definition = engine.definition
        named = self.config.engines.get(definition.name)
        if named is not None and replace(named, options=definition.options) == definition:
            return definition.name
        return to_spec(definition, engine.backend)

    def keep_once_open(self, engine: EngineTask, written: EngineDefinition, opened: EngineDefinition) -> None:
        """Save an engine in the form that the user wrote, once `opened` is open, which may have other options."""

        def keep(engine: EngineTask) -> None:
            if engine.is_open and engine.definition == opened:
                engine.watchers.remove(keep)
                self._keep(written, engine.backend)

        engine.watchers.append(keep)

    def _keep(self, definition: EngineDefinition, backend: Backend | None) -> None:
        try:
            self.save(definition, backend)
        except ParagoneError as error:
            self.complain(error)
        self.remember_lanes()  # the lane's engine is now saved by its name

    def save(self, definition: EngineDefinition, backend: Backend | None) -> str:
        """Save an engine without its secrets, and return the engine's name; see `add_engine`. Raises ParagoneError."""
        before = self.config.added
        self.config = add_engine(self.config, self.state, definition, backend)
        return next(iter(self.config.added - before), definition.name)

    def save_preset(self, preset: Preset) -> str:
        kept = add_preset(self.config, self.state, preset)
        self.config = replace(self.config, presets={**self.config.presets, kept.name: kept})
        return kept.name

    def remove_preset(self, name: str) -> None:
        """Remove a preset. Raises InputError if the preset was not saved on the screen, ParagoneError if saving fails."""
        preset = self.config.presets.get(name)
        if preset is None or self.state.saved.presets.get(name) != preset:
            raise InputError(
                f"No preset {name!r} was saved here.",
                hint="To remove a preset of config.toml, edit that file.",
            )
        self.state.remove_preset(name)
        kept = {key: preset for key, preset in self.config.presets.items() if key != name}
        self.config = replace(self.config, presets=kept)

    def remove(self, name: str) -> bool:
        try:
            self.config = remove_engine(self.config, self.state, name)
        except ParagoneError as error:
            self.complain(error)
            return False
        return True
