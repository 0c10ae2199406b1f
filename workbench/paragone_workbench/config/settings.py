"""The settings that a config.toml can hold, each declared once, and what can be wrong with one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

from paragone import InputError, Options, option
from paragone_workbench.config.toml_file import Document
from paragone_workbench.engines.definitions import EngineDefinition

__all__ = [
    "ChatSettings",
    "Config",
    "ConfigError",
    "LaneSettings",
    "Mode",
    "ModelSettings",
    "Problem",
    "UiSettings",
]


Mode: TypeAlias = Literal["parallel", "sequential", "swap", "auto"]
"""`parallel`: all engines are open, answer at once and share the cores. `sequential`: all are open, one
answers at a time with all cores. `swap`: of the engines that compute here, one is open at a time.
`auto`: `parallel` where all fit in memory, else `swap`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSettings(Options):
    """The section `[models]`."""

    folders: tuple[str, ...] = option((), "Folders that are searched for models, with those in them.")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneSettings(Options):
    """The section `[lanes]`."""

    start: tuple[str, ...] = option((), "Engines to start with; without it, those of last time.")
    mode: Mode = option(  # noqa: RUF009 (frozen)
        "parallel",
        "How lanes answer: all at once, one after the other for fair timing, or with one engine in memory at "
        "a time; auto decides by the memory that they need.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatSettings(Options):
    """The section `[chat]`."""

    system: str = option("", "System prompt of new conversations.")


@dataclass(frozen=True, slots=True, kw_only=True)
class UiSettings(Options):
    """The section `[ui]`."""

    theme: str | None = option(None, "Colours of the screen, until another theme is chosen there.")
    markdown: bool = option(True, "Whether a finished answer is typeset as Markdown.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The settings in force."""

    engines: Mapping[str, EngineDefinition] = field(default_factory=dict)
    """By name: the user's, and over them those added on the screen."""
    models: ModelSettings = ModelSettings()
    lanes: LaneSettings = LaneSettings()
    chat: ChatSettings = ChatSettings()
    ui: UiSettings = UiSettings()
    keys: Mapping[str, str] = field(default_factory=dict)
    """Keys for the screen's bindings, by the binding's id."""
    document: Document
    """The file it came from: `document.where("keys", "stop")` says where a key stands."""
    warnings: tuple[str, ...] = ()
    """What the user should hear of, though nothing had to stop for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Something wrong in a config file, and where."""

    file: Path
    line: int
    key: str
    """Dotted, as in `lanes.mode`; empty where the file as a whole is at fault."""
    sentence: str
    hint: str = ""

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.sentence} {self.hint}".rstrip()


class ConfigError(InputError):
    """A config file that cannot be used as it is. Nothing was changed."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        first = problems[0]
        hint = first.hint
        if len(problems) > 1:
            hint = f"{hint} `paragone config check` lists this and {len(problems) - 1} more.".lstrip()
        super().__init__(f"{first.file}:{first.line}: {first.sentence}", hint=hint)
        self.problems = problems
