"""The program's saved state: engines and presets saved on the screen, the lanes of the last session, the theme, consents, and
digests of exports."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from paragone import InputError, json_values, texts, wire
from paragone_workbench.config.settings import Config, Preset
from paragone_workbench.config.toml_file import read_toml
from paragone_workbench.engines import definitions
from paragone_workbench.paths import accessible, exists, private_folder, replacing

if TYPE_CHECKING:
    from paragone import Backend

T = TypeVar("T")
NamedT = TypeVar("NamedT", definitions.EngineDefinition, Preset)


@dataclass(frozen=True, slots=True, kw_only=True)
class Saved:
    engines: Mapping[str, definitions.EngineDefinition] = field(default_factory=dict)
    """The engines added on the screen, by name."""
    lanes: tuple[str, ...] = ()
    """The engines of the last session's lanes: names or engine specs."""
    theme: str | None = None
    """The theme that the user chose last; None if the user has never chosen one."""
    presets: Mapping[str, Preset] = field(default_factory=dict)
    """The presets saved on the screen, by name."""
    consents: tuple[str, ...] = ()
    """Digests of the actions that the user has consented to; see `Consent`."""
    exports: tuple[str, ...] = ()
    """SHA-256 of the last files that this program wrote, which need no consent when they are read back."""


_EXPORTS = 1000
"""Number of exports that are remembered."""


class State:
    """The state file. The program writes it atomically at each change, and keeps the changes of other instances. An
    unreadable state file is renamed to `*.bad`. The program never writes config.toml."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warning = ""
        """A message on why the existing file cannot be used; empty for a usable file."""
        self.saved = Saved()
        self._read()

    def save_engine(self, definition: definitions.EngineDefinition) -> None:
        """Save an engine, replacing a saved engine of the same name. Raises ParagoneError."""
        kept = definitions.without_literal_keys(definition)
        self._change(lambda saved: dataclasses.replace(saved, engines={**saved.engines, kept.name: kept}))

    def remove_engine(self, name: str) -> None:
        """Remove the saved engine of this name, if any. Raises ParagoneError."""
        self._change(lambda saved: dataclasses.replace(saved, engines=_without(saved.engines, name)))

    def remember_lanes(self, names: Iterable[str]) -> None:
        """Save the names of the lanes' engines for the next start. Raises ParagoneError."""
        lanes = tuple(texts.without_keys(name) for name in names)
        self._change(lambda saved: dataclasses.replace(saved, lanes=lanes))

    def save_preset(self, preset: Preset) -> None:
        """Save a preset, replacing a saved preset of the same name. Raises ParagoneError."""
        self._change(lambda saved: dataclasses.replace(saved, presets={**saved.presets, preset.name: preset}))

    def remove_preset(self, name: str) -> None:
        """Remove the saved preset of this name, if any. Raises ParagoneError."""
        self._change(lambda saved: dataclasses.replace(saved, presets=_without(saved.presets, name)))

    def set_theme(self, theme: str) -> None:
        """Save the theme. Raises ParagoneError."""
        self._change(lambda saved: dataclasses.replace(saved, theme=theme))

    def remember_consent(self, digest: str) -> None:
        """Save the user's consent to the actions with this digest. Raises ParagoneError."""
        self._change(lambda saved: dataclasses.replace(saved, consents=(*saved.consents, digest)))

    def remember_export(self, digest: str) -> None:
        """Save that this program wrote a file with this SHA-256. Raises ParagoneError."""
        self._change(
            lambda saved: dataclasses.replace(
                saved, exports=(*(it for it in saved.exports if it != digest), digest)[-_EXPORTS:]
            )
        )

    def _change(self, change: Callable[[Saved], Saved]) -> None:
        self._read()
        saved = change(self.saved)
        self._write(saved)
        self.saved = saved

    def _read(self) -> None:
        try:
            if not exists(self.path):
                return
        except OSError as error:
            self.warning = f"The program's saved state in {self.path} cannot be accessed: {error.strerror}."
            return
        try:
            self.saved = _load(read_toml(self.path).data)
        except (InputError, TypeError, ValueError) as error:
            aside = self.path.with_name(self.path.name + ".bad")
            try:
                self.path.replace(aside)
                outcome = f"could not be read and was moved to {aside}"
            except OSError:
                outcome = "cannot be read"
            self.warning = f"The program's saved state {outcome}: {error}"

    def _write(self, saved: Saved) -> None:
        import tomli_w

        text = tomli_w.dumps(_dump(saved))
        private_folder(self.path.parent)
        with replacing(self.path, mode=0o600) as file:  # options may hold API keys
            file.write("# Written by paragone. Your own settings belong in config.toml.\n" + text)


def add_engine(
    config: Config, state: State, definition: definitions.EngineDefinition, backend: Backend | None
) -> Config:
    """Save a new engine, without its secrets and with a number if its name is taken. Return the settings with it.
    Raises ParagoneError."""
    kept = definitions.without_secrets(definition, backend)
    if backend is not None and backend.capabilities.local and accessible(kept.model):
        kept = dataclasses.replace(kept, model=str(Path(kept.model).absolute()))
    if any(dataclasses.replace(kept, name=name) == engine for name, engine in config.engines.items()):
        return config
    name = next(name for name in definitions.numbered(kept.name) if name not in config.engines)
    kept = dataclasses.replace(kept, name=name)
    state.save_engine(kept)
    return dataclasses.replace(
        config, engines={**config.engines, kept.name: kept}, added=config.added | {kept.name}
    )


def add_preset(config: Config, state: State, preset: Preset) -> Preset:
    """Save a preset, and return it: its name gets a number if config.toml has a preset of this name. Raises ParagoneError."""
    own = {name for name, known in config.presets.items() if state.saved.presets.get(name) != known}
    kept = dataclasses.replace(
        preset, name=next(name for name in definitions.numbered(preset.name) if name not in own)
    )
    state.save_preset(kept)
    return kept


def remove_engine(config: Config, state: State, name: str) -> Config:
    """Remove an engine that was added on the screen, and return the settings without it. Raises ParagoneError."""
    state.remove_engine(name)
    return dataclasses.replace(config, engines=_without(config.engines, name), added=config.added - {name})


def _without(saved: Mapping[str, T], name: str) -> dict[str, T]:
    return {key: value for key, value in saved.items() if key != name}


def _load(data: json_values.JsonObject) -> Saved:
    lists = {
        "lanes": json_values.value_at(data, "lanes", "start"),
        "consents": json_values.value_at(data, "consents", "given"),
        "exports": json_values.value_at(data, "exports", "written"),
    }
    plain = {name: value or [] for name, value in lists.items()} | {
        "theme": json_values.value_at(data, "ui", "theme")
    }
    return dataclasses.replace(
        wire.from_json(Saved, plain),
        engines=_named(definitions.EngineDefinition, json_values.object_at(data, "engines")),
        presets=_named(Preset, json_values.object_at(data, "presets")),
    )


def _named(kind: type[NamedT], tables: json_values.JsonObject) -> dict[str, NamedT]:
    """Return the values of tables, each of which has the name of its table."""
    return {
        name: wire.from_json(kind, {**json_values.object_at(table), "name": name})
        for name, table in tables.items()
    }


def _dump(saved: Saved) -> dict[str, object]:
    out: dict[str, object] = {
        "engines": {name: _saved_table(engine) for name, engine in saved.engines.items()},
        "presets": {name: _saved_table(preset) for name, preset in saved.presets.items()},
        "lanes": {"start": list(saved.lanes)} if saved.lanes else {},
        "ui": {} if saved.theme is None else {"theme": saved.theme},
        "consents": {"given": list(saved.consents)} if saved.consents else {},
        "exports": {"written": list(saved.exports)} if saved.exports else {},
    }
    return {name: table for name, table in out.items() if table}


def _saved_table(named: definitions.EngineDefinition | Preset) -> dict[str, object]:
    """Return an engine or a preset without its name. TOML has no null, and None means the default, so these values
    are omitted."""
    table = {
        key: value for key, value in wire.to_json(named).items() if key != "name" and value not in (None, {})
    }
    options = table.get("options")
    if not isinstance(options, dict):
        return {**table}
    return {**table, "options": {key: value for key, value in options.items() if value is not None}}
