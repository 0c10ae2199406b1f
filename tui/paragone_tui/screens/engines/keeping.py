"""Keeps an engine that the user wrote in the picker, once it is open."""

from __future__ import annotations

from collections.abc import Callable

from paragone import LoadedModel
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.handle import EngineHandle, EngineObserver

__all__ = ["Keeping"]


class Keeping(EngineObserver):
    """Calls `keep` the first time that an engine is open with this definition."""

    def __init__(self, definition: EngineDefinition, keep: Callable[[EngineHandle], None]) -> None:
        self._definition = definition
        self._keep = keep

    def engine_opened(self, engine: EngineHandle, loaded: LoadedModel) -> None:
        """Keep the engine and stop observing, unless another one was opened instead."""
        if engine.definition == self._definition:
            engine.observers.remove(self)
            self._keep(engine)
