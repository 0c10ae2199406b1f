"""The engines of a server, and the order in which requests use them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence

from paragone import Options
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.runs.run import Run
from paragone_workbench.scheduling.pool import EnginePool
from paragone_workbench.serving.protocol.api_error import ApiError

MOST_WAITING = 1024
"""Number of answers that may wait for an engine. Further requests are refused, so that memory stays bounded."""


class ServedEngine:
    """An engine that requests name as their model. Requests wait in their order of arrival until the engine has room.

    A native engine computes one answer at a time. A server computes several answers, and so do engines that share a loaded model.
    An open engine executes one run at a time, so the engine is opened as often as answers may be computed at the same time.
    """

    def __init__(self, pool: EnginePool, definition: EngineDefinition) -> None:
        self.pool = pool
        self.definition = definition
        self.name = definition.name
        first = pool.add(definition)
        many = first.placement.most_at_once or pool.requests_per_server
        self._handles = [first, *(pool.add(definition) for _ in range(many - 1))]
        self._free = list(self._handles)
        self._available = asyncio.Semaphore(many)
        self.waiting = 0
        """Number of answers that wait."""
        self.runs: set[Run] = set()
        """The runs that compute answers."""

    @property
    def computing(self) -> int:
        """Number of answers that are computed now."""
        return len(self._handles) - len(self._free)

    @property
    def silent_s(self) -> int:
        """The largest `Run.silent_s` of the runs in progress, which shows a frozen engine; 0 without runs."""
        return max((run.silent_s for run in self.runs), default=0)

    @property
    def is_open(self) -> bool:
        """Whether the engine can answer without being opened first."""
        return any(handle.is_open for handle in self._handles)

    @property
    def first(self) -> EngineHandle:
        """The engine, or the first of its connections to a server."""
        return self._handles[0]

    @property
    def options(self) -> type[Options]:
        """The engine's sampling options."""
        backend = self.first.backend
        return Options if backend is None else backend.sampling

    async def open(self) -> None:
        """Open the engine. Raises ParagoneError."""
        await self._opened(self.first)

    @contextlib.asynccontextmanager
    async def reserved(self) -> AsyncIterator[EngineHandle]:
        """Wait until the engine has room for an answer, and yield the open engine. A crashed engine is opened again.

        Raises ParagoneError if the engine cannot be opened, and ApiError if too many answers wait.
        """
        if self.waiting >= MOST_WAITING:
            raise ApiError(
                429, f"{self.waiting:,} answers wait for {self.name}. Try again later.", code="queue_full"
            )
        self.waiting += 1
        try:
            await self._available.acquire()
        finally:
            self.waiting -= 1
        handle = self._free.pop(0)
        try:
            await self._opened(handle)
            yield handle
        finally:
            self._free.insert(0, handle)
            self._available.release()

    async def close(self) -> None:
        """Close the engine, which the next answer opens again."""
        await asyncio.gather(*(handle.close() for handle in self._handles))

    def stop_opening(self) -> None:
        """Stop opening the engine, if it is being opened."""
        for handle in self._handles:
            handle.stop_opening()

    async def _opened(self, handle: EngineHandle) -> None:
        self.pool.start(handle)
        await handle.opened()
        handle.require_open()


class ServedEngines:
    """The engines of a server, by the names that requests use."""

    def __init__(self, pool: EnginePool, definitions: Sequence[EngineDefinition]) -> None:
        self._pool = pool
        self._engines = {definition.name: ServedEngine(pool, definition) for definition in definitions}

    @property
    def all(self) -> Sequence[ServedEngine]:
        """All engines, in their order."""
        return tuple(self._engines.values())

    def find(self, name: str) -> ServedEngine:
        """Return the engine with this name. Raises ApiError."""
        found = self._engines.get(name)
        if found is None:
            names = ", ".join(self._engines)
            sentence = f"There is no model {name[:100]!r}. There are: {names}."
            raise ApiError(404, sentence, param="model", code="model_not_found")
        return found

    async def open(self) -> None:
        """Open all engines. Raises the first error if engines cannot be opened."""
        await self._pool.registry.load([engine.definition.backend for engine in self.all])
        await asyncio.gather(*(engine.open() for engine in self.all))

    async def stop(self) -> None:
        """Stop all answers, and the opening of engines."""
        for engine in self.all:
            engine.stop_opening()
        await self._pool.stop()

    async def close(self) -> None:
        """Close the engines."""
        await self._pool.close()
