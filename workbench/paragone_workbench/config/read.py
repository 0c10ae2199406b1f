"""Read and check the user's config.toml, and merge the program's saved state into the settings."""

from __future__ import annotations

import contextlib
import dataclasses
import difflib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from paragone import InputError, Options, ParagoneError, option
from paragone.json_values import JsonObject, value_at
from paragone.options import build
from paragone_workbench.config import settings
from paragone_workbench.config.state import State
from paragone_workbench.config.toml_file import TextError, TomlDocument, read_toml
from paragone_workbench.engines import definitions
from paragone_workbench.paths import config_file, exists, private_folder, state_file

if TYPE_CHECKING:
    from paragone import Backend, Json
    from paragone_workbench.config.toml_file import Key


OptionsT = TypeVar("OptionsT", bound=Options)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineTable(Options):
    backend: str = option("", "The backend that runs the engine.")
    model: str = option("", "A path, or the model's name at an endpoint.")
    python: str | None = option(None, "Python interpreter for the engine's worker process.")


_HINTS = {
    "backend": "Set `backend`; `paragone doctor` lists the backends.",
    "model": "Set `model` to a path, or to the model's name at an endpoint.",
}

_TEMPLATE_HINT = 'Write, for example, translate = "Translate into {{ language }}: {{ prompt }}".'
_KEYS_HINT = 'Keys are a string, for example "ctrl+x,f5".'
SECTIONS: Mapping[str, type[Options]] = {
    "models": settings.ModelSettings,
    "lanes": settings.LaneSettings,
    "chat": settings.ChatSettings,
    "network": settings.NetworkSettings,
    "serve": settings.ServeSettings,
    "ui": settings.UiSettings,
}
TABLES = ("engines", *SECTIONS, "presets", "templates", "themes", "keys")


def load(path: Path | None = None, state: State | None = None) -> settings.Config:
    """Return the active settings. `path` must exist; by default, the user's file is read if it exists, and the user's
    state. Raises ConfigError for errors in the file, and InputError if it cannot be read."""
    config, problems = load_with_problems(path, state)
    if problems:
        raise settings.ConfigError(tuple(problems))
    return config


def load_with_problems(
    path: Path | None = None, state: State | None = None, backend: Callable[[str], Backend] | None = None
) -> tuple[settings.Config, list[settings.ConfigProblem]]:
    """Return the settings without invalid values, and all problems by line; `backend` adds the problems of the
    engines' options. Raises InputError if the file cannot be read."""
    state = State(state_file()) if state is None else state
    try:
        reader = _Reader(_document(path))
    except TextError as error:
        problem = settings.ConfigProblem(
            file=error.path, line=error.line, key="", sentence=error.what, hint=error.hint
        )
        return _Reader(TomlDocument(error.path)).config(state), [problem]
    config = reader.config(state)
    if backend is not None:
        reader.check_options(backend)
    return config, sorted(reader.problems, key=lambda problem: problem.line)


def init(path: Path | None = None) -> Path:
    """Write the documented sample config file, and return its path. Raises InputError if it exists, and ParagoneError."""
    path = config_file() if path is None else path
    private_folder(path.parent)
    try:
        # readable only by the user, because the file may later specify how to get an API key
        path.touch(mode=0o600, exist_ok=False)
        path.write_text(sample(), encoding="utf-8")
    except FileExistsError as error:
        raise InputError(f"{path} already exists; nothing was changed.") from error
    except OSError as error:
        raise ParagoneError(f"{path} cannot be written: {error.strerror or error}.") from error
    return path


def sample() -> str:
    return Path(__file__).with_name("config.toml").read_text(encoding="utf-8")


def _document(path: Path | None) -> TomlDocument:
    if path is not None:
        return read_toml(path)
    default = config_file()
    try:
        found = exists(default)
    except OSError as error:
        raise InputError(
            f"{default} cannot be accessed: {error.strerror or error}.",
            hint="Check its folder's permissions.",
        ) from error
    return read_toml(default) if found else TomlDocument(default)


class _Reader:
    def __init__(self, document: TomlDocument) -> None:
        self.problems: list[settings.ConfigProblem] = []
        self._document = document
        self._own: dict[str, definitions.EngineDefinition] = {}

    def config(self, state: State) -> settings.Config:
        for name in self._document.data:
            if name not in TABLES:
                self._note((name,), f"There is no section [{name}].", definitions.suggest(name, TABLES))
        self._own = {name: self._engine(name, table) for name, table in self._tables("engines")}
        added = {name: engine for name, engine in state.saved.engines.items() if name not in self._own}
        engines = {**self._own, **added}
        models = self._section("models", settings.ModelSettings)
        lanes = self._section("lanes", settings.LaneSettings)
        ui = self._section("ui", settings.UiSettings)
        for index, text in enumerate(lanes.start):
            with self._noting("lanes", "start", index):
                definitions.resolve(text, engines)
        remembered, warnings = _remembered(state, engines)
        return settings.Config(
            engines=engines,
            added=frozenset(added),
            models=dataclasses.replace(
                models, folders=tuple(definitions.expand_home(path) for path in models.folders)
            ),
            lanes=lanes if lanes.start else dataclasses.replace(lanes, start=remembered),
            chat=self._section("chat", settings.ChatSettings),
            presets={
                **state.saved.presets,
                **{name: self._preset(name, table) for name, table in self._tables("presets")},
            },
            templates=self._texts("templates", _TEMPLATE_HINT),
            network=self._section("network", settings.NetworkSettings),
            serve=self._section("serve", settings.ServeSettings),
            ui=ui if state.saved.theme is None else dataclasses.replace(ui, theme=state.saved.theme),
            themes={
                name: self._options(settings.ThemeSettings, ("themes", name), table, f"the theme {name!r}")
                for name, table in self._tables("themes")
            },
            keys=self._texts("keys", _KEYS_HINT),
            document=self._document,
            warnings=warnings,
        )

    def check_options(self, backend: Callable[[str], Backend]) -> None:
        for name, definition in self._own.items():
            known = len(self.problems)
            with self._noting("engines", name, "backend"):
                found = backend(definition.backend)
                for key, value in definition.options.items():
                    with self._noting("engines", name, key):
                        one = dataclasses.replace(definition, options={key: value})
                        definitions.load_and_sampling_options(one, found)
            if len(self.problems) == known:
                try:
                    definitions.check_engine(definition, found)
                except ParagoneError as error:
                    self._note(("engines", name), f"The engine {name!r}: {error.message}", error.hint)

    def _section(self, name: str, kind: type[OptionsT]) -> OptionsT:
        return self._options(kind, (name,), self._table(name), f"[{name}]")

    def _engine(self, name: str, table: JsonObject) -> definitions.EngineDefinition:
        key = ("engines", name)
        own = {field.name for field in dataclasses.fields(EngineTable)}
        rest = {name: value for name, value in table.items() if name not in own}
        for wanted, hint in _HINTS.items():
            if table.get(wanted, "") == "":
                near = difflib.get_close_matches(wanted, rest, n=1)
                hint = f"Did you mean {wanted!r} instead of {near[0]!r}?" if near else hint
                self._note(key, f"The engine {name!r} has no {wanted}.", hint)
        fixed = {name: value for name, value in table.items() if name in own}
        checked = self._options(EngineTable, key, fixed, f"the engine {name!r}")
        return definitions.EngineDefinition(
            name=name,
            backend=checked.backend,
            model=definitions.expand_home(checked.model),
            python=None if checked.python is None else definitions.expand_home(checked.python),
            options=rest,
        )

    def _preset(self, name: str, table: JsonObject) -> settings.Preset:
        system = table.get("system")
        if not (system is None or isinstance(system, str)):
            key = ("presets", name, "system")
            self._note(key, f"The system prompt of the preset {name!r} is not text.", "")
            system = None
        sampling = {option: value for option, value in table.items() if option != "system"}
        return settings.Preset(name=name, system=system, sampling=sampling)

    def _texts(self, section: str, hint: str) -> dict[str, str]:
        texts: dict[str, str] = {}
        for name, value in self._table(section).items():
            if isinstance(value, str):
                texts[name] = value
            else:
                self._note((section, name), f"{name!r} in [{section}] cannot be {value!r}.", hint)
        return texts

    def _tables(self, section: str) -> Iterator[tuple[str, JsonObject]]:
        for name, value in self._table(section).items():
            table = self._table(section, name)
            if isinstance(value, Mapping):
                yield name, table

    def _table(self, *key: str) -> JsonObject:
        value = value_at(self._document.data, *key)
        if isinstance(value, Mapping):
            return value
        if value is not None:
            name = ".".join(key)
            self._note(key, f"{name!r} is not a table.", f"Write it as a table: [{name}].")
        return {}

    def _options(self, kind: type[OptionsT], key: Key, values: JsonObject, owner: str) -> OptionsT:
        """Return the options with the valid values, and record a problem for each invalid value."""
        valid: dict[str, Json] = {}
        for name, value in values.items():
            with self._noting(*key, name):
                build(kind, {name: value}, owner=owner)
                valid[name] = value
        return build(kind, valid)

    @contextlib.contextmanager
    def _noting(self, *key: str | int) -> Iterator[None]:
        """Record an InputError in the block as a problem at this key."""
        try:
            yield
        except InputError as error:
            self._note(key, error.message, error.hint)

    def _note(self, key: Key, message: str, hint: str) -> None:
        self.problems.append(
            settings.ConfigProblem(
                file=self._document.path,
                line=self._document.line(*key),
                key=".".join(map(str, key)),
                sentence=message,
                hint=hint,
            )
        )


def _remembered(
    state: State, engines: Mapping[str, definitions.EngineDefinition]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    warnings = [state.warning] if state.warning else []
    lanes: list[str] = []
    for text in state.saved.lanes:
        try:
            definitions.resolve(text, engines)
        except InputError as error:
            warnings.append(f"A lane of the last session was not reopened. {error.message}")
        else:
            lanes.append(text)
    return tuple(lanes), tuple(warnings)
