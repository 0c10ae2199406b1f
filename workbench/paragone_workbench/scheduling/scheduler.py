"""When each run may use its engine: at once, one after the other, or with one engine in memory at a time."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Literal
from weakref import WeakSet

from paragone import Caution
from paragone.cores import physical_cores
from paragone_workbench.config.settings import Mode
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.runs.execute import Turn, Turns

if TYPE_CHECKING:  # the usual mode needs neither, and a start should not wait for them
    from paragone_workbench.scheduling.decision import Decision
    from paragone_workbench.scheduling.swapping import Swapping

__all__ = ["REQUESTS_PER_SERVER", "Scheduler", "cores_for_each"]

REQUESTS_PER_SERVER = 4
"""Runs that one server has at once, at most; further ones wait here, where they can be seen and stopped."""


class Scheduler(Turns):
    """Gives runs their turns."""

    def __init__(self, mode: Mode = "parallel", *, requests_per_server: int = REQUESTS_PER_SERVER) -> None:
        self.mode: Mode = mode
        """May be changed at any time; runs that have their turn keep it."""
        self.decision: Decision | None = None
        """What `auto` decided, and why; None before the first decision."""
        self._one = asyncio.Lock()
        self._servers: defaultdict[str, asyncio.Semaphore] = defaultdict(
            lambda: asyncio.Semaphore(requests_per_server)
        )
        self._wanting: list[EngineHandle] = []
        self._known: WeakSet[EngineHandle] = WeakSet()
        self._deciding = asyncio.Lock()
        self._decided_for: frozenset[EngineHandle] = frozenset()
        self._swapping: Swapping | None = None

    @property
    def order(self) -> Literal["parallel", "sequential", "swap"]:
        """The mode in force: with `auto`, the one that was decided on."""
        if self.mode != "auto":
            return self.mode
        return self.decision.mode if self.decision is not None else "parallel"

    @property
    def opens_engines(self) -> bool:
        """Whether engines are opened by the runs that need them, and not before."""
        return self.order == "swap"

    def add(self, engine: EngineHandle) -> None:
        """Take note of an engine, from its first moment on."""
        self._known.add(engine)

    async def settle(self) -> None:
        """With `auto`, decide how the engines that are known are run; otherwise do nothing."""
        if self.mode != "auto":
            return
        async with self._deciding:
            engines = frozenset(self._known)
            if self.decision is None or engines != self._decided_for:
                from paragone_workbench.scheduling.decision import decide  # for `auto` alone

                self.decision = await decide(engines)
                self._decided_for = engines

    def join(self, engine: EngineHandle) -> None:
        """Take note that a run of this engine waits: it has a part of the cores from now on."""
        self._wanting.append(engine)
        self._known.add(engine)

    def leave(self, engine: EngineHandle) -> None:
        """Take note that a run of this engine is over."""
        self._wanting.remove(engine)

    @contextlib.asynccontextmanager
    async def turn(self, engine: EngineHandle) -> AsyncIterator[Turn]:
        """Wait until a run may use the engine; it may until the context is left."""
        async with engine.turn, contextlib.AsyncExitStack() as held:
            await self.settle()
            order = self.order
            if order != "swap":
                if self.mode == "auto" and engine.state == "closed":
                    engine.open(cores_for_each(self._known))
                await engine.opened()  # not in its turn: loading holds nobody up
            if order != "parallel":
                await held.enter_async_context(self._one)
            cautions = await self._bring_in(engine) if order == "swap" else ()
            for address in sorted(engine.addresses):
                await held.enter_async_context(self._servers[address])
            sharing = self._wanting if order == "parallel" else [engine]
            yield Turn(threads=cores_for_each(sharing), schedule=order, cautions=cautions)

    async def _bring_in(self, engine: EngineHandle) -> tuple[Caution, ...]:
        """Have no other engine in memory. Returns what the user should know of that."""
        if self._swapping is None:
            from paragone_workbench.scheduling.swapping import Swapping

            self._swapping = Swapping()
        return await self._swapping.bring_in(engine, self._known)


def cores_for_each(engines: Iterable[EngineHandle]) -> int:
    """Return how many CPU threads each of these engines may use: their threads spin while others compute."""
    local = {id(engine) for engine in engines if engine.is_local}
    return max(1, physical_cores() // max(1, len(local)))
