"""Engines that are added on the screen: saved in the program's state, never in config.toml."""

from __future__ import annotations

import dataclasses
from itertools import count
from pathlib import Path

from paragone import Backend
from paragone_workbench.config.settings import Config
from paragone_workbench.config.state import State
from paragone_workbench.engines.definitions import EngineDefinition, without_secrets

__all__ = ["add_engine", "remove_engine"]


def add_engine(config: Config, state: State, definition: EngineDefinition, backend: Backend | None) -> Config:
    """Save an engine without its secrets, and return the settings with it.

    If the name is taken by another engine, it gets a number: an engine of config.toml is never replaced. An
    engine that is already defined is not saved again. Raises ParagoneError.
    """
    kept = without_secrets(definition, backend)
    if backend is not None and backend.capabilities.local and Path(kept.model).exists():
        kept = dataclasses.replace(kept, model=str(Path(kept.model).absolute()))
    if any(dataclasses.replace(kept, name=name) == engine for name, engine in config.engines.items()):
        return config
    names = (kept.name if number == 1 else f"{kept.name}-{number}" for number in count(1))
    kept = dataclasses.replace(kept, name=next(name for name in names if name not in config.engines))
    state.save_engine(kept)
    return dataclasses.replace(
        config, engines={**config.engines, kept.name: kept}, added=config.added | {kept.name}
    )


def remove_engine(config: Config, state: State, name: str) -> Config:
    """Remove an engine that was added on the screen, and return the settings without it. Raises ParagoneError."""
    state.remove_engine(name)
    engines = {key: engine for key, engine in config.engines.items() if key != name}
    return dataclasses.replace(config, engines=engines, added=config.added - {name})
