"""A test double: a backend in the application's process whose engines send events as fast as they are read.

It stands in for a fast engine, or a hostile one, whose next event is always there already.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Iterable, Sequence

from paragone import (
    Backend,
    Event,
    Finish,
    LoadedModel,
    ModelInfo,
    OnProgress,
    OpenEngine,
    OpenRequest,
    Options,
    Probe,
    RunRequest,
)
from paragone_workbench.engines.definitions import EngineDefinition

FLOODING = EngineDefinition(name="flood", backend="flooding", model="flood")


class _Engine(OpenEngine):
    loaded = LoadedModel(name="flood", context=4096)

    def __init__(self, events: Iterable[Event]) -> None:
        self._events = events

    async def run(self, request: RunRequest) -> AsyncGenerator[Event, None]:
        for event in self._events:
            yield event
        yield Finish(reason="stop", time=time.monotonic())

    async def stop(self) -> None:
        pass

    async def close(self) -> None:
        pass


class FloodingBackend(Backend):
    """A backend whose engines send these events."""

    name = "flooding"
    title = "Flooding"
    load_options = Options
    sampling = Options

    def __init__(self, events: Iterable[Event]) -> None:
        self._events = events

    async def probe(self, python: str | None = None) -> Probe:
        return Probe(usable=True)

    async def models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        return ()

    async def open(self, request: OpenRequest, on_progress: OnProgress) -> OpenEngine:
        return _Engine(self._events)
