"""Declarations of the settings in config.toml, with presets, templates of prompts and themes."""

from __future__ import annotations

import dataclasses
import re
import shlex
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias, TypeVar

from paragone import InputError, Json, Options, option
from paragone.json_values import object_at, text_at, value_at
from paragone.options import build, describe
from paragone_workbench.config.toml_file import TomlDocument
from paragone_workbench.conversation.variables import fill, names_in
from paragone_workbench.engines.definitions import BackendLookup, EngineDefinition, secret_options, suggest
from paragone_workbench.paths import config_file

if TYPE_CHECKING:
    from paragone import Backend


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """A system prompt and sampling options. Options that a preset does not set keep their values."""

    name: str
    system: str | None = None
    """The system prompt; None to keep the current system prompt."""
    sampling: Mapping[str, Json] = field(default_factory=dict)
    """Sampling options by name, which are checked when the preset is applied to an engine."""


T = TypeVar("T")


def find_named(kind: str, name: str, known: Mapping[str, T]) -> T:
    """Return the preset or the template of this name; `kind` is the word for it. Raises InputError."""
    if name in known:
        return known[name]
    section = "[presets.NAME]" if kind == "preset" else "[templates]"
    hint = suggest(name, known) if known else f"config.toml has no section {section}."
    raise InputError(f"There is no {kind} {name!r}.", hint=hint)


def with_preset(definition: EngineDefinition, backend: Backend, preset: Preset) -> EngineDefinition:
    """Return the definition with the preset's sampling options, which override its own. Raises InputError."""
    known = [info.name for info in describe(backend.sampling)]
    for name in preset.sampling:
        if name not in known:
            raise InputError(
                f"The preset {preset.name!r} sets {name!r}, which is not a sampling option of the backend {backend.name}.",
                hint=suggest(name, known),
            )
    build(backend.sampling, preset.sampling, owner=f"the preset {preset.name!r}")
    return dataclasses.replace(definition, options={**definition.options, **preset.sampling})


def preset_of(name: str, definition: EngineDefinition, backend: Backend, *, system: str) -> Preset:
    """Return a preset with the sampling options that a definition sets, and with the system prompt unless it is empty."""
    kept = {info.name for info in describe(backend.sampling) if not info.secret}
    sampling = {key: value for key, value in definition.options.items() if key in kept and value is not None}
    return Preset(name=name, system=system or None, sampling=sampling)


BaseTheme: TypeAlias = Literal["dark", "light", "contrast"]
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ThemeSettings(Options):
    base: BaseTheme = option("dark", "The theme that supplies the colours that are not set.")  # noqa: RUF009 (frozen)
    background: str | None = option(None, "The background.")
    surface: str | None = option(None, "The background of dialogs and of code.")
    line: str | None = option(None, "Lines between lanes and around fields.")
    foreground: str | None = option(None, "Text.")
    dim: str | None = option(None, "Units, hints and notes.")
    accent: str | None = option(None, "The current lane, prompts and headings.")
    code: str | None = option(None, "Code within text.")
    difference: str | None = option(None, "Words that differ, and warnings.")
    failure: str | None = option(None, "Errors, and tokens that were unlikely.")
    likely: str | None = option(None, "Tokens that were likely, and texts within code.")

    def __post_init__(self) -> None:
        for name, value in self.colours.items():
            if not _COLOUR.fullmatch(value):
                raise InputError(
                    f"The colour {name!r} cannot be {value!r}.", hint='It is written as "#1e90ff".'
                )

    @property
    def colours(self) -> Mapping[str, str]:
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return {name: value for name, value in values.items() if name != "base" and value is not None}


Mode: TypeAlias = Literal["parallel", "sequential", "swap", "auto"]
"""`parallel`: all engines are open, answer concurrently and share the cores. `sequential`: all engines are open, and
one at a time answers with all cores. `swap`: only one of the engines that compute on this machine is open at a time.
`auto`: `parallel` if all engines fit in memory together, else `swap`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings(Options):
    folders: tuple[str, ...] = option((), "Further folders to search for models, with their subfolders.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSettings(Options):
    start: tuple[str, ...] = option((), "Engines to start with; by default the engines of the last session.")
    mode: Mode = option(  # noqa: RUF009 (frozen)
        "parallel",
        "How lanes answer: concurrently, one after the other for fair timing, or with one engine in memory at "
        "a time; auto decides by the memory that the engines need.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings(Options):
    system: str = option("", "System prompt of new conversations.")
    resume: bool = option(
        True,
        "Whether `paragone` without arguments resumes the last conversation, if the lanes have its engines.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings(Options):
    offline: bool = option(False, "Whether paragone contacts no other machine, as with --offline.")
    local_servers: bool = option(
        False,
        "Whether servers on this machine that no engine names, such as Ollama, are asked for their models; and "
        "whether engines may use servers on this machine offline.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeSettings(Options):
    seconds: int = option(
        600, "Seconds that a request to `paragone serve` may take, with its answer.", minimum=1
    )
    messages: int = option(1000, "Largest number of messages in a request.", minimum=1)
    megabytes: int = option(8, "Largest size of a request in MiB.", minimum=1, maximum=1024)


@dataclass(frozen=True, slots=True, kw_only=True)
class UiSettings(Options):
    theme: str | None = option(
        None,
        "Theme: dark, light, contrast, ansi (the terminal's own colours), or another; a theme chosen on the screen takes precedence.",
    )
    markdown: bool = option(True, "Whether answers are rendered as Markdown.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    engines: Mapping[str, EngineDefinition] = field(default_factory=dict)
    """The engines by name: the engines of config.toml, then engines added on the screen whose names config.toml lacks."""
    added: frozenset[str] = frozenset()
    models: ModelSettings = ModelSettings()
    lanes: LaneSettings = LaneSettings()
    chat: ChatSettings = ChatSettings()
    presets: Mapping[str, Preset] = field(default_factory=dict)
    """The presets by name: presets saved on the screen, and the presets of config.toml, which replace saved presets."""
    templates: Mapping[str, str] = field(default_factory=dict)
    """The texts of templates by name, with `{{ name }}` for each variable."""
    network: NetworkSettings = NetworkSettings()
    serve: ServeSettings = ServeSettings()
    ui: UiSettings = UiSettings()
    themes: Mapping[str, ThemeSettings] = field(default_factory=dict)
    keys: Mapping[str, str] = field(default_factory=dict)
    document: TomlDocument
    """The file with the settings. `document.where("keys", "stop")` returns the position of a key in this file."""
    warnings: tuple[str, ...] = ()
    """Warnings for the user, such as about lanes that were not reopened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigProblem:
    file: Path
    line: int
    key: str
    """The key with dots, such as `lanes.mode`; empty if the problem concerns the whole file."""
    sentence: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.sentence} {self.hint}".rstrip()


class ConfigError(InputError):
    def __init__(self, problems: tuple[ConfigProblem, ...]) -> None:
        first = problems[0]
        hint = first.hint
        if len(problems) > 1:
            named = "" if first.file == config_file() else f" --config {shlex.quote(str(first.file))}"
            hint = f"{hint} `paragone config check{named}` lists all problems in the file.".lstrip()
        super().__init__(f"{first.file}:{first.line}: {first.sentence}", hint=hint)
        self.problems = problems


TEMPLATE_PROMPT = "prompt"
"""The variable of a template that stands for the text of the prompt."""


def fill_template(name: str, text: str, values: Mapping[str, str]) -> str:
    """Return the text of a template with its variables' values. Raises InputError for missing and unknown variables."""
    names = names_in(text)
    unknown = [key for key in values if key not in names]
    if unknown:
        hint = suggest(unknown[0], names) if names else "It has no variables."
        raise InputError(f"The template {name!r} has no variable {unknown[0]!r}.", hint=hint)
    missing = [key for key in names if key not in values]
    if missing:
        raise InputError(f"The template {name!r} needs a value for: {', '.join(missing)}.")
    return fill(text, values)


def template_problems(config: Config) -> Iterator[ConfigProblem]:
    for name, text in config.templates.items():
        try:
            names_in(text)
        except InputError as error:
            yield ConfigProblem(
                file=config.document.path,
                line=config.document.line("templates", name),
                key=f"templates.{name}",
                sentence=f"The template {name!r} is broken: {error.message}",
                hint=error.hint,
            )


def permission_warning(document: TomlDocument, find: BackendLookup) -> str:
    """Return a warning if other users can read a config file that holds a secret, else an empty string."""
    try:
        mode = stat.S_IMODE(document.path.stat().st_mode)
    except OSError:  # the file was deleted after it was read
        return ""
    if not mode & 0o077:
        return ""
    secrets = sorted(_secrets(document, find))
    if not secrets:
        return ""
    return (
        f"{document.path} sets {' and '.join(secrets)}, and its mode {mode:o} gives other users access. "
        f"Restrict it: chmod 600 {shlex.quote(str(document.path))}"
    )


def _secrets(document: TomlDocument, find: BackendLookup) -> set[str]:
    names: set[str] = set()
    for table in object_at(document.data, "engines").values():
        backend = find(text_at(table, "backend"))
        if backend is not None:
            names |= {name for name in secret_options(backend) if value_at(table, name)}
    return names
