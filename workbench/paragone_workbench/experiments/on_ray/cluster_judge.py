"""A judge that is open at several places of a cluster. The requests of a lost process go to another process."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses

from paragone import ParagoneError
from paragone.network.guard import GUARD
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.experiments.on_ray.cell_actor import Shard
from paragone_workbench.experiments.on_ray.cluster import Cluster, ProcessLost, RemoteActor
from paragone_workbench.experiments.on_ray.cluster_engine import ClusterEngine
from paragone_workbench.experiments.on_ray.places import Place, PlacedEngine
from paragone_workbench.experiments.running.executing.suite_engine import Executed
from paragone_workbench.experiments.running.progress import SuiteObserver
from paragone_workbench.runs.spec import RunSpec

_ASKED_AT_ONCE = 2
"""Number of requests that a process has at a time, so that its engine never waits for the next request."""
END_S = 20.0
"""Seconds within which a process must close its engine."""


@dataclasses.dataclass(eq=False)
class _JudgeProcess:
    """A place of the judge, and the process there."""

    number: int
    place: Place
    actor: RemoteActor | None = None
    opening: asyncio.Future[Shard] | None = None
    asked: int = 0
    """Number of requests in progress."""


class ClusterJudge:
    """A judge whose engine is open in a process at each of its places. Implements `JudgeEngine`."""

    def __init__(
        self, cluster: Cluster, placed: PlacedEngine, recorded: EngineDefinition, observer: SuiteObserver
    ) -> None:
        """Prepare the judge without opening the engine. `recorded` is the definition of the judge in results."""
        self.definition = recorded
        self._cluster = cluster
        self._placed = placed
        self._observer = observer
        self._processes = [_JudgeProcess(number, place) for number, place in enumerate(placed.places)]
        self._state = ClusterEngine(recorded.name, len(placed.places))
        self._stopped = False

    @property
    def given_up(self) -> ParagoneError | None:
        """Why the judge is no longer asked; None as long as the judge is asked."""
        return self._state.given_up

    @property
    def width(self) -> int:
        """Number of requests to give the judge at a time."""
        return _ASKED_AT_ONCE * len(self._processes)

    async def execute(self, spec: RunSpec) -> Executed | None:
        """Execute a run. Returns None if the run was cut off, because the judge was given up or the work stopped."""
        while self._processes and not self._stopped and self.given_up is None:
            process = min(self._processes, key=lambda process: process.asked)
            actor = process.actor
            process.asked += 1
            try:
                if actor is None or process.opening is None:
                    actor = process.actor = self._cluster.start(process.place)
                    process.opening = asyncio.ensure_future(
                        actor.begin(self._placed.definition, process.place.cores, offline=GUARD.is_offline)
                    )
                opened = await asyncio.shield(process.opening)
                executed, given_up = (None, opened.given_up) if opened.given_up else await actor.ask(spec)
            except ProcessLost as lost:
                if process.actor is actor:
                    self._lose(process, lost)
                continue
            finally:
                process.asked -= 1
            if executed is not None:
                self._state.losses = 0
                result = dataclasses.replace(executed.result, definition=self.definition)
                return dataclasses.replace(executed, result=result)
            if given_up is None:
                return None
            if process in self._processes:
                self._state.fail(process.number, process.place, *given_up)
                self._leave(process)
        return None

    def give_up(self, error: ParagoneError) -> None:
        """Stop asking the judge, because of `error`."""
        self._state.give_up(error)

    async def stop(self) -> None:
        """Stop the runs in progress, and end the processes."""
        self._stopped = True
        await self.close()

    async def close(self) -> None:
        """End the processes."""
        await asyncio.gather(*(self._end(process) for process in self._processes))

    async def _end(self, process: _JudgeProcess) -> None:
        actor, process.actor = process.actor, None
        opening, process.opening = process.opening, None
        if actor is None or opening is None:
            return
        if opening.done() and opening.exception() is None:
            with contextlib.suppress(TimeoutError, ProcessLost):
                await asyncio.wait_for(actor.end(), END_S)
        actor.kill()

    def _lose(self, process: _JudgeProcess, lost: ProcessLost) -> None:
        """Handle a lost process: unless the node is gone, the next request starts another process at the place."""
        if self._stopped:
            return
        if process.actor is not None:
            process.actor.kill()
        process.actor = process.opening = None
        is_there = self._cluster.has(process.place.node)
        self._observer.remarked(self._state.lose(process.place, str(lost), process.asked, is_there=is_there))
        if not is_there:
            self._leave(process)

    def _leave(self, process: _JudgeProcess) -> None:
        self._processes.remove(process)
        self._state.leave(process.number)
        if process.actor is not None:
            process.actor.kill()
