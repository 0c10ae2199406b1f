"""Declarations of the settings in config.toml, and of problems in such a file."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from paragone import InputError, Options, option
from paragone_workbench.config.presets import Preset
from paragone_workbench.config.theme_settings import ThemeSettings
from paragone_workbench.config.toml_file import TomlDocument
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.paths import config_file

Mode: TypeAlias = Literal["parallel", "sequential", "swap", "auto"]
"""`parallel`: all engines are open, answer at the same time and share the cores. `sequential`: all engines are
open, and one at a time answers with all cores. `swap`: only one of the engines that compute on this machine is
open at a time. `auto`: `parallel` if all engines fit in memory together, else `swap`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings(Options):
    """The section `[models]`."""

    folders: tuple[str, ...] = option((), "Further folders to search for models, with their subfolders.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSettings(Options):
    """The section `[lanes]`."""

    start: tuple[str, ...] = option((), "Engines to start with; by default the engines of the last session.")
    mode: Mode = option(  # noqa: RUF009 (frozen)
        "parallel",
        "How lanes answer: all at once, one after the other for fair timing, or with one engine in memory at "
        "a time; auto decides by the memory that the engines need.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings(Options):
    """The section `[chat]`."""

    system: str = option("", "System prompt of new conversations.")
    resume: bool = option(
        True,
        "Whether `paragone` without arguments resumes the last conversation, if the lanes have its engines.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSettings(Options):
    """The section `[network]`."""

    offline: bool = option(False, "Whether no other machine is contacted, as with --offline.")
    local_servers: bool = option(
        False,
        "Whether servers on this machine that no engine names, such as Ollama, are asked for their models; and "
        "whether engines may use servers on this machine offline.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class UiSettings(Options):
    """The section `[ui]`."""

    theme: str | None = option(
        None,
        "Theme: dark, light, contrast, ansi (the terminal's own colours), or another; a theme chosen on the screen takes precedence.",
    )
    markdown: bool = option(True, "Whether answers are rendered as Markdown.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings in force."""

    engines: Mapping[str, EngineDefinition] = field(default_factory=dict)
    """The engines by name: the engines of config.toml, then engines added on the screen whose names config.toml lacks."""
    added: frozenset[str] = frozenset()
    """The names of the engines that were added on the screen."""
    models: ModelSettings = ModelSettings()
    lanes: LaneSettings = LaneSettings()
    chat: ChatSettings = ChatSettings()
    presets: Mapping[str, Preset] = field(default_factory=dict)
    """The presets by name: presets saved on the screen, and the presets of config.toml, which replace saved presets."""
    templates: Mapping[str, str] = field(default_factory=dict)
    """The texts of templates by name, with `{{ name }}` for each variable."""
    network: NetworkSettings = NetworkSettings()
    ui: UiSettings = UiSettings()
    themes: Mapping[str, ThemeSettings] = field(default_factory=dict)
    """The user's own themes, by name."""
    keys: Mapping[str, str] = field(default_factory=dict)
    """Keys for the screen's bindings, by the binding's id."""
    document: TomlDocument
    """The file with the settings. `document.where("keys", "stop")` returns the position of a key in this file."""
    warnings: tuple[str, ...] = ()
    """Warnings for the user, such as about lanes that were not reopened."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigProblem:
    """A problem in a config file, with its position."""

    file: Path
    line: int
    key: str
    """The key with dots, such as `lanes.mode`; empty if the problem concerns the whole file."""
    sentence: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.sentence} {self.hint}".rstrip()


class ConfigError(InputError):
    """A config file has errors, which `problems` lists."""

    def __init__(self, problems: tuple[ConfigProblem, ...]) -> None:
        first = problems[0]
        hint = first.hint
        if len(problems) > 1:
            named = "" if first.file == config_file() else f" --config {shlex.quote(str(first.file))}"
            hint = f"{hint} `paragone config check{named}` lists all problems in the file.".lstrip()
        super().__init__(f"{first.file}:{first.line}: {first.sentence}", hint=hint)
        self.problems = problems
