"""An engine whose runs are spread over several servers. The runs of a lost server go to the other servers."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import deque
from dataclasses import dataclass

from paragone import ParagoneError
from paragone.wording import counted
from paragone_workbench.engines.definitions import EngineDefinition, at_each_server, server_of
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.experiments.running.executing.suite_engine import Executed, SuiteEngine
from paragone_workbench.experiments.running.progress import SuiteObserver
from paragone_workbench.runs.spec import RunSpec
from paragone_workbench.scheduling.pool import EnginePool

FAILURES = 3
"""Number of failed runs in a row after which one of several servers counts as lost."""
FIRST_PAUSE_S = 5.0
"""Seconds after which a lost server is tried again. A failed trial doubles the pause, up to `LONGEST_PAUSE_S`."""
LONGEST_PAUSE_S = 300.0


@dataclass(slots=True)
class Standing:
    """The state of one of several servers: whether the server works, or is lost and when to try again."""

    failures: int = 0
    """Number of runs that have failed in a row on this server."""
    lost: ParagoneError | None = None
    """Why the server counts as lost, until a trial succeeds; None if the server works."""
    pause_s: float = 0.0
    """Seconds from the last loss of the server to the next trial."""
    is_due: bool = False
    """Whether the server is lost, and the pause has ended."""
    on_trial: bool = False
    """Whether the server is lost, and one run is a trial in progress."""

    def lose(self, error: ParagoneError) -> None:
        """Mark the server as lost, after failed runs or after a failed trial."""
        self.lost, self.is_due, self.on_trial = error, False, False
        self.pause_s = min(LONGEST_PAUSE_S, 2 * self.pause_s) or FIRST_PAUSE_S


class SpreadEngine:
    """An engine of a suite, with a `SuiteEngine` for each of its servers, or a single `SuiteEngine` if the engine has no servers.

    A run goes to the server with the smallest load. A run that fails at a server goes to another server, and counts
    as failed only if the run fails at all servers. A lost server is tried again later, with one run at first.
    """

    def __init__(self, pool: EnginePool, definition: EngineDefinition, observer: SuiteObserver) -> None:
        """Add the engine to a pool, without opening it."""
        self.definition = definition
        self._observer = observer
        self._recorded = pool.registry.public(definition)
        """The definition in results, which names all servers, whichever server answers."""
        self._backend = pool.registry.find(definition.backend)
        self._servers = [
            SuiteEngine(pool, one, observer.progressed) for one in at_each_server(definition, self._backend)
        ]
        self._standings = {server: Standing() for server in self._servers}
        self._given_up: ParagoneError | None = None
        self._waiting: deque[asyncio.Future[None]] = deque()
        """The runs for which no server has room."""
        self._stopped = False

    @property
    def given_up(self) -> ParagoneError | None:
        """Why the engine was given up; None as long as the engine executes runs."""
        return self._given_up or (self._servers[0].given_up if len(self._servers) == 1 else None)

    @property
    def width(self) -> int:
        """Number of runs to give the engine at a time."""
        return sum(server.width for server in self._servers)

    @property
    def handle(self) -> EngineHandle:
        """The handle of the engine, or of the connection to the first server."""
        return self._servers[0].handle

    @property
    def doing(self) -> str:
        """How many servers answer, if not all do, and how much of the model is loaded, as text; may be empty."""
        left = self._working()
        doing = next((server.doing for server in left if server.doing), "")
        if len(left) == len(self._servers):
            return doing
        return " · ".join(filter(None, (f"{len(left)} of {len(self._servers)} servers", doing)))

    def tokens_per_second(self, now: float) -> float | None:
        """Return the rate in tokens per second at the time `now`, or else the rate of the last answer; None if unknown."""
        rates = [rate for server in self._servers if (rate := server.tokens_per_second(now)) is not None]
        return sum(rates) if rates else None

    async def opened(self) -> None:
        """Wait while the engine is being opened."""
        await asyncio.gather(*(server.handle.opened() for server in self._servers))

    async def execute(self, spec: RunSpec) -> Executed | None:
        """Execute a run. Returns None if the run did not end by itself: the engine was given up, or the work stopped."""
        if len(self._servers) == 1:
            return await self._servers[0].execute(spec)
        failed_at: dict[SuiteEngine, Executed] = {}
        while (server := await self._server(failed_at)) is not None:
            asyncio.get_running_loop().call_soon(self._let_next)
            try:
                executed = await server.execute(spec)
                self._count(server, executed)
            finally:
                self._let_next()
            if executed is None:
                if server.given_up is None:
                    return None
            elif executed.engine_failed:
                failed_at[server] = executed
            else:
                return self._recorded_as_one(executed)
        if self._stopped or self.given_up is not None or not failed_at:
            return None
        return self._recorded_as_one(next(reversed(failed_at.values())))

    async def stop(self) -> None:
        """Stop executing runs, and do not wait for the engine to open. The pool stops runs in progress."""
        self._stopped = True
        self._wake()
        await asyncio.gather(*(server.stop() for server in self._servers))

    def give_up(self, error: ParagoneError) -> None:
        """Give the engine up because of `error`: no further runs are executed, and runs in progress end by themselves."""
        self._given_up = self._given_up or error
        for server in self._servers:
            server.give_up(error)
        self._wake()

    async def _server(self, failed_at: dict[SuiteEngine, Executed]) -> SuiteEngine | None:
        """Wait until a server has room for a run, and return the server; None if no server is left."""
        is_first = True
        self._note_losses()
        while not self._stopped and self._given_up is None:
            due = next((server for server in self._servers if self._is_due(server)), None)
            if due is not None and due not in failed_at:
                self._standings[due].on_trial = True
                await due.take_again()
                return due
            left = [server for server in self._working() if server not in failed_at]
            chosen = min(left, key=lambda server: server.load, default=None)
            if chosen is None and not any(standing.on_trial for standing in self._standings.values()):
                return None
            if chosen is not None and (chosen.load < 1 or failed_at):
                return chosen
            may_look = asyncio.get_running_loop().create_future()
            (self._waiting.append if is_first else self._waiting.appendleft)(may_look)
            is_first = False
            try:
                await may_look
            except asyncio.CancelledError:
                if may_look.done() and not may_look.cancelled():
                    self._let_next()
                raise
        return None

    def _let_next(self) -> None:
        """Let the run that has waited longest look for a server, if a server has room or may be tried again."""
        if any(server.load < 1 for server in self._working()) or any(map(self._is_due, self._servers)):
            self._wake(1)

    def _wake(self, most: int | None = None) -> None:
        """Let waiting runs look for a server: all runs, or only the `most` runs that have waited longest."""
        while self._waiting and most != 0:
            may_look = self._waiting.popleft()
            if not may_look.done():
                may_look.set_result(None)
                most = None if most is None else most - 1

    def _working(self) -> list[SuiteEngine]:
        """Return the servers that are not lost."""
        return [server for server, standing in self._standings.items() if standing.lost is None]

    def _is_due(self, server: SuiteEngine) -> bool:
        """Return whether a lost server may be tried again now: the pause and all runs of the server have ended."""
        standing = self._standings[server]
        return standing.is_due and not standing.on_trial and not server.load

    def _end_pause(self, standing: Standing) -> None:
        """Let a waiting run try a lost server again."""
        standing.is_due = True
        self._let_next()

    def _count(self, server: SuiteEngine, executed: Executed | None) -> None:
        """Count a run that has ended at a server, and update whether the server is lost."""
        standing = self._standings[server]
        if executed is not None and executed.engine_failed:
            standing.failures += 1
            if standing.failures >= FAILURES or standing.on_trial:
                server.give_up(
                    ParagoneError(
                        f"{counted(standing.failures, 'run')} in a row failed there, the last one: {executed.result.error}"
                    )
                )
        elif executed is not None and server.given_up is None:
            if standing.lost is not None:
                address = server_of(server.definition, self._backend)
                self._observer.remarked(f"The server {address} of {self.definition.name} answers again.")
            self._standings[server] = Standing()
        self._note_losses()

    def _note_losses(self) -> None:
        """Mark as lost the servers that were given up, and report each new loss.

        Without a working server, give the engine up.
        """
        for server, standing in self._standings.items():
            error = server.given_up
            if error is None or (standing.lost is not None and not standing.on_trial):
                continue
            is_new = standing.lost is None
            standing.lose(error)
            if all(other.lost is not None and not other.on_trial for other in self._standings.values()):
                sentence = f"None of the {len(self._servers)} servers of {self.definition.name} answers."
                self.give_up(
                    ParagoneError(
                        f"{sentence} The server that failed last: {error.sentence}", hint=error.hint
                    )
                )
                return
            asyncio.get_running_loop().call_later(standing.pause_s, self._end_pause, standing)
            if is_new:
                address = server_of(server.definition, self._backend)
                self._observer.remarked(
                    f"The server {address} of {self.definition.name} is asked no more for now: {error.sentence} "
                    "Its runs go to the other servers."
                )

    def _recorded_as_one(self, executed: Executed) -> Executed:
        return dataclasses.replace(
            executed, result=dataclasses.replace(executed.result, definition=self._recorded)
        )
