"""Presets: a system prompt and sampling options under a name, for any engine."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from paragone import InputError, Json
from paragone.options import build, describe
from paragone_workbench.engines.definitions import EngineDefinition, suggest

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


def find_preset(name: str, presets: Mapping[str, Preset]) -> Preset:
    """Return the preset of this name. Raises InputError."""
    if name in presets:
        return presets[name]
    hint = suggest(name, presets) if presets else "config.toml has no section [presets.NAME]."
    raise InputError(f"There is no preset {name!r}.", hint=hint)


def with_preset(definition: EngineDefinition, backend: Backend, preset: Preset) -> EngineDefinition:
    """Return the definition with the preset's sampling options, which override the definition's own options.

    Raises InputError if the backend lacks one of the options, or a value is wrong.
    """
    known = [info.name for info in describe(backend.sampling)]
    for name in preset.sampling:
        if name not in known:
            raise InputError(
                f"The preset {preset.name!r} sets {name!r}, which is no sampling option of the backend {backend.name}.",
                hint=suggest(name, known),
            )
    build(backend.sampling, preset.sampling, owner=f"the preset {preset.name!r}")
    return dataclasses.replace(definition, options={**definition.options, **preset.sampling})


def preset_of(name: str, definition: EngineDefinition, backend: Backend, *, system: str) -> Preset:
    """Return a preset with the sampling options that a definition sets, and with the system prompt unless it is empty."""
    kept = {info.name for info in describe(backend.sampling) if not info.secret}
    sampling = {key: value for key, value in definition.options.items() if key in kept and value is not None}
    return Preset(name=name, system=system or None, sampling=sampling)
