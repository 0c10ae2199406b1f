"""An engine whose runs are spread over its servers: what a lost one had been given, the others are asked."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter, deque

from paragone import ParagoneError
from paragone_workbench.engines.definitions import EngineDefinition, at_each_server, server_of
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.experiments.running.executing.suite_engine import Executed, SuiteEngine
from paragone_workbench.experiments.running.progress import SuiteObserver
from paragone_workbench.runs.spec import RunSpec
from paragone_workbench.scheduling.pool import EnginePool
from paragone_workbench.scheduling.scheduler import REQUESTS_PER_SERVER

FAILURES = 3
"""Runs in a row that fail at one of several servers, after which it is asked no more."""


class SpreadEngine:
    """An engine of a suite, at each of its servers; an engine with one server or none is a `SuiteEngine` in it.

    A run goes to the server with the smallest share of its requests in progress. If the server fails, the run is asked at
    another one, and has failed only if it fails at each.
    """

    def __init__(
        self,
        pool: EnginePool,
        definition: EngineDefinition,
        observer: SuiteObserver,
        *,
        most_requests: int = REQUESTS_PER_SERVER,
    ) -> None:
        """Add the engine to a pool, without opening it. Each server is asked `most_requests` at once at most."""
        self.definition = definition
        self._observer = observer
        self._recorded = pool.registry.public(definition)
        """The definition in results from several servers: it has all of them, whichever answers."""
        self._backend = pool.registry.find(definition.backend)
        self._servers = [
            SuiteEngine(pool, one, observer.progressed, most_requests=most_requests)
            for one in at_each_server(definition, self._backend)
        ]
        self._failures: Counter[SuiteEngine] = Counter()
        """How many runs in a row have failed at a server."""
        self._told: set[SuiteEngine] = set()
        """The servers whose loss the user has been told."""
        self._given_up: ParagoneError | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        """The runs for which no server has room."""
        self._stopped = False

    @property
    def given_up(self) -> ParagoneError | None:
        """Why no more runs are executed; None if they are."""
        lost = [server.given_up for server in self._servers if server.given_up is not None]
        if self._given_up is not None or len(lost) < len(self._servers):
            return self._given_up
        last = lost[-1]
        if len(lost) == 1:
            return last
        return ParagoneError(
            f"None of the {len(lost)} servers of {self.definition.name} answers. The one that failed last: {last.sentence}",
            hint=last.hint,
        )

    @property
    def width(self) -> int:
        """Number of runs that the engine takes at once."""
        return sum(server.width for server in self._servers)

    @property
    def handle(self) -> EngineHandle:
        """The engine, or the first of its connections to a server."""
        return self._servers[0].handle

    @property
    def doing(self) -> str:
        """Whether the model is being loaded, and how much of it is; how many of its servers answer, if not all do."""
        left = [server for server in self._servers if server.given_up is None]
        doing = next((server.doing for server in left if server.doing), "")
        if len(left) == len(self._servers):
            return doing
        return " · ".join(filter(None, (f"{len(left)} of {len(self._servers)} servers", doing)))

    def tokens_per_second(self, now: float) -> float | None:
        """Return the rate at which it generates tokens, at this time on the monotonic clock; None if it does not."""
        rates = [rate for server in self._servers if (rate := server.tokens_per_second(now)) is not None]
        return sum(rates) if rates else None

    async def opened(self) -> None:
        """Wait while the engine is being opened."""
        await asyncio.gather(*(server.handle.opened() for server in self._servers))

    async def execute(self, spec: RunSpec) -> Executed | None:
        """Execute a run. Returns None if it did not end by itself: the engine was given up, or the work stopped."""
        if len(self._servers) == 1:
            return await self._servers[0].execute(spec)
        failed_at: dict[SuiteEngine, Executed] = {}
        while (server := await self._server(failed_at)) is not None:
            asyncio.get_running_loop().call_soon(self._let_next)
            try:
                executed = await server.execute(spec)
            finally:
                self._let_next()
            if executed is None:
                if server.given_up is None:
                    return None
            elif executed.engine_failed:
                failed_at[server] = executed
                self._count_failure(server, executed)
            else:
                self._failures[server] = 0
                return self._recorded_as_one(executed)
        if self._stopped or self.given_up is not None or not failed_at:
            return None
        return self._recorded_as_one(next(reversed(failed_at.values())))

    async def stop(self) -> None:
        """Execute no more runs, and do not wait for the engine to open. The pool stops runs in progress."""
        self._stopped = True
        self._wake()
        await asyncio.gather(*(server.stop() for server in self._servers))

    def give_up(self, error: ParagoneError) -> None:
        """Execute no more runs, for this reason. Runs in progress end by themselves."""
        self._given_up = self._given_up or error
        for server in self._servers:
            server.give_up(error)
        self._wake()

    async def _server(self, failed_at: dict[SuiteEngine, Executed]) -> SuiteEngine | None:
        """Return the server that a run is to be asked at, once it has room; None if there is none."""
        is_first = True
        while not self._stopped:
            for server in self._servers:
                self._tell(server)
            left = [server for server in self._servers if server.given_up is None and server not in failed_at]
            if not left:
                return None
            chosen = min(left, key=lambda server: server.load)
            if chosen.load < 1 or failed_at:
                return chosen
            place = asyncio.get_running_loop().create_future()
            (self._waiting.append if is_first else self._waiting.appendleft)(place)
            is_first = False
            try:
                await place
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():
                    self._let_next()
                raise
        return None

    def _let_next(self) -> None:
        """Let the run that has waited longest look for a server, if one has room."""
        if any(server.given_up is None and server.load < 1 for server in self._servers):
            self._wake(1)

    def _wake(self, most: int | None = None) -> None:
        """Let runs that wait look for a server: all, or at most the `most` that have waited longest."""
        while self._waiting and most != 0:
            place = self._waiting.popleft()
            if not place.done():
                place.set_result(None)
                most = None if most is None else most - 1

    def _count_failure(self, server: SuiteEngine, executed: Executed) -> None:
        """Ask a server no more, if it has failed too often."""
        self._failures[server] += 1
        if self._failures[server] == FAILURES:
            server.give_up(
                ParagoneError(f"{FAILURES} runs in a row failed there, the last one: {executed.result.error}")
            )

    def _tell(self, server: SuiteEngine) -> None:
        """Tell once that a server is lost, while others are left."""
        error = server.given_up
        if error is None or server in self._told:
            return
        self._told.add(server)
        if self.given_up is not None:
            self._wake()
            return
        address = server_of(server.definition, self._backend)
        self._observer.remarked(
            f"The server {address} of {self.definition.name} is asked no more: {error.sentence} Its runs go to the others."
        )

    def _recorded_as_one(self, executed: Executed) -> Executed:
        return dataclasses.replace(
            executed, result=dataclasses.replace(executed.result, definition=self._recorded)
        )
