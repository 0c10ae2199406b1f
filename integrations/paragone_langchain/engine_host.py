"""The engines of all chat models of this program, on one event loop in a thread of its own.

LangChain calls a model in any thread and on any event loop, but an engine belongs to one event loop. Chat models with
equal definitions share an engine: the first request opens the engine, and closing the last chat model closes the engine.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import threading
import weakref
from collections.abc import Coroutine
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar

from paragone import InputError, TokenizedText, TokenizeRequest
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.scheduling.pool import EnginePool
from paragone_workbench.serving.direct_use import used
from paragone_workbench.serving.served_engine import ServedEngine

T = TypeVar("T")

_END_S = 10.0
"""Seconds that closing the engines may take when the program ends."""


@dataclass(eq=False)
class _Shared:
    """An engine, and the number of chat models that use this engine."""

    engine: ServedEngine
    users: int = 0
    closing: asyncio.Task[None] | None = None
    """The task that closes the engine: the next user opens the engine again after the end of this task."""


class EngineHost:
    """Owns the engines. A program has one EngineHost: see `engine_host`."""

    def __init__(self) -> None:
        self.registry = Registry()
        self._pool = EnginePool(self.registry)
        self._shared: list[_Shared] = []
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="paragone engines", daemon=True).start()
        atexit.register(self._end)

    def start(self, work: Coroutine[None, None, T]) -> Future[T]:
        """Start a coroutine on the engines' event loop. May be called in any thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def take(self, definition: EngineDefinition) -> ServedEngine:
        """Return the engine of a definition, and count one more user. Must be called on the engines' event loop."""
        shared = next((one for one in self._shared if one.engine.definition == definition), None)
        if shared is None:
            shared = _Shared(ServedEngine(self._pool, definition))
            self._shared.append(shared)
        shared.users += 1  # before the first `await`, so that no other user closes the engine meanwhile
        if shared.closing is not None:
            await asyncio.shield(shared.closing)
        return shared.engine

    async def give_back(self, engine: ServedEngine) -> None:
        """Count one user less, and close the engine if it has no users. Must be called on the engines' event loop."""
        shared = next(one for one in self._shared if one.engine is engine)
        shared.users -= 1
        if not shared.users:
            shared.closing = asyncio.create_task(engine.close())
            await asyncio.shield(shared.closing)

    def _end(self) -> None:
        with contextlib.suppress(TimeoutError):
            self.start(self._pool.close()).result(_END_S)


class Lease:
    """The use of an engine by a chat model and its copies, until `close` or until all copies are garbage-collected."""

    def __init__(self, definition: EngineDefinition) -> None:
        self.definition = definition
        self.host = engine_host()
        self._taken: list[asyncio.Task[ServedEngine]] = []
        self._end = weakref.finalize(self, _give_back, self.host, self._taken)
        self._end.atexit = False  # at the end of the program, the host closes all engines

    async def engine(self) -> ServedEngine:
        """Return the engine. Must be called on the engines' event loop. Raises InputError after `close`."""
        if not self._end.alive:
            raise InputError("This chat model is closed.", hint="Make a new chat model.")
        if not self._taken:  # a task, so that simultaneous requests take the engine once
            self._taken.append(asyncio.create_task(self.host.take(self.definition)))
        return await asyncio.shield(self._taken[0])

    def tokenized(self, request: TokenizeRequest) -> TokenizedText:
        """Return the tokens of a text or of messages. Raises ParagoneError if the engine fails or does not report tokens."""
        return self.host.start(self._tokenized(request)).result()

    async def _tokenized(self, request: TokenizeRequest) -> TokenizedText:
        shared = await self.engine()
        async with shared.reserved() as handle:
            if not handle.capabilities.tokenize:
                raise InputError(f"{shared.name} does not report the tokens of a text.")
            async with used(shared.pool, handle) as engine:
                return await engine.tokenize(request)

    def close(self) -> None:
        """End the use of the engine. If no other chat model uses the engine, wait until the engine is closed."""
        if (ending := self._end()) is not None:
            ending.result()


def _give_back(host: EngineHost, taken: list[asyncio.Task[ServedEngine]]) -> Future[None]:
    async def give_back() -> None:
        if taken:
            await host.give_back(await taken[0])

    return host.start(give_back())


_making = threading.Lock()
_hosts: list[EngineHost] = []


def engine_host() -> EngineHost:
    """Return the host of this program's engines. The first call creates the host."""
    with _making:
        if not _hosts:
            _hosts.append(EngineHost())
        return _hosts[0]
