"""Executes the runs of a suite on a cluster. Each place has a process with an engine; servers are asked from here."""

from __future__ import annotations

import asyncio
import dataclasses
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from paragone import ParagoneError
from paragone.network.guard import GUARD
from paragone_workbench.experiments.on_ray.cell_actor import Shard
from paragone_workbench.experiments.on_ray.cell_queue import CellQueue
from paragone_workbench.experiments.on_ray.cluster import Cluster, ProcessLost, RemoteActor
from paragone_workbench.experiments.on_ray.cluster_engine import ClusterEngine
from paragone_workbench.experiments.on_ray.cluster_judge import END_S, ClusterJudge
from paragone_workbench.experiments.on_ray.places import Place, PlacedEngine
from paragone_workbench.experiments.running.cells import Cell
from paragone_workbench.experiments.running.executing.executor import ExecutedCell, JudgeEngine, SuiteWork
from paragone_workbench.experiments.running.executing.local_executor import LocalExecutor
from paragone_workbench.store import RunKey

MOST_REQUESTS = 64
"""Largest number of requests in progress at one server."""
_AHEAD_S = 0.5
"""Seconds for which a process gets runs in advance, so that its engine never waits for the next run."""
_LEAST_AHEAD, _MOST_AHEAD = 2, 100


@dataclass(eq=False)
class _Process:
    """A process at a place, and the unfinished runs of the process."""

    actor: RemoteActor
    number: int
    """The number of the place."""
    place: Place
    given: dict[RunKey, Cell] = field(default_factory=dict)
    ahead: int = _LEAST_AHEAD
    """Number of runs that the process is given at a time."""


class RayExecutor:
    """Executes runs at the places of a cluster. Servers are asked from this machine, which has their keys."""

    elsewhere = True

    def __init__(
        self,
        work: SuiteWork,
        cluster: Cluster,
        engines: Mapping[int, PlacedEngine],
        judges: Mapping[str, PlacedEngine],
    ) -> None:
        """`engines`, by index in the request, and `judges`, by name, are opened on nodes."""
        self._work = work
        self._cluster = cluster
        self._engines = engines
        self._judges = judges
        self._states: dict[int, ClusterEngine] = {}
        self._asked_judges: dict[str, ClusterJudge] = {}
        self._servers = LocalExecutor(work, mode="parallel", most_requests=MOST_REQUESTS)
        self._stopped = asyncio.Event()
        self._failure: ParagoneError | None = None

    async def execute(self, engines: Sequence[int]) -> None:
        """Execute the unfinished runs of these engines. Returns early after `stop`. Raises ParagoneError."""
        servers = [index for index in engines if index not in self._engines]
        placed = [index for index in engines if index in self._engines]
        for index in placed:
            engine = ClusterEngine(self._work.request.engines[index].name, len(self._engines[index].places))
            self._work.progress[index].engine = self._states[index] = engine
        async with asyncio.TaskGroup() as tasks:
            if servers:
                tasks.create_task(self._ask(servers))
            if self._work.request.schedule == "parallel":
                for index in placed:
                    tasks.create_task(self._drain([index]))
            else:
                tasks.create_task(self._drain(placed))
        if self._failure is not None:
            raise self._failure

    async def judges(self, names: Sequence[str]) -> Mapping[str, JudgeEngine]:
        """Return judges of the request by name: on nodes, or at servers. The judges of an earlier call are closed."""
        await self._close_judges()
        public = self._work.registry.public
        self._asked_judges = {
            name: ClusterJudge(
                self._cluster,
                self._judges[name],
                public(self._work.request.judges[name]),
                self._work.observer,
            )
            for name in names
            if name in self._judges
        }
        servers = await self._servers.judges([name for name in names if name not in self._judges])
        return {**self._asked_judges, **servers}

    async def stop(self) -> None:
        """Stop the runs in progress, and start no further runs. Finished runs are kept."""
        self._stopped.set()
        stopping = [judge.stop() for judge in self._asked_judges.values()]
        await asyncio.gather(self._servers.stop(), *stopping)

    async def close(self) -> None:
        """Close the judges and the connections to servers, and leave the cluster."""
        await self._close_judges()
        await self._servers.close()
        await self._cluster.leave()

    async def _close_judges(self) -> None:
        await asyncio.gather(*(judge.close() for judge in self._asked_judges.values()))

    async def _ask(self, servers: Sequence[int]) -> None:
        try:
            await self._servers.execute(servers)
        except ParagoneError as error:
            await self._fail(error)

    async def _fail(self, error: ParagoneError) -> None:
        """Stop all runs after an error of the history, which `execute` then raises."""
        self._failure = self._failure or error
        await self.stop()

    async def _drain(self, indices: Sequence[int]) -> None:
        """Execute all runs of engines, one engine after the other, each at all places of the engine."""
        for index in indices:
            queue = CellQueue(self._work.unfinished([index]))
            async with asyncio.TaskGroup() as tasks:
                for number, place in enumerate(self._engines[index].places):
                    tasks.create_task(self._run_process(index, number, place, queue))
            await queue.close()

    async def _run_process(self, index: int, number: int, place: Place, queue: CellQueue) -> None:
        """Keep a process of an engine at a place, until no run is left."""
        engine = self._states[index]
        try:
            while not (self._stopped.is_set() or queue.is_done or engine.given_up):
                process = _Process(self._cluster.start(place), number, place)
                try:
                    await self._use(index, process, queue)
                except ProcessLost as lost:
                    engine.shards.pop(number, None)
                    is_there = self._cluster.has(place.node)
                    runs = len(process.given)
                    self._work.observer.remarked(engine.lose(place, str(lost), runs, is_there=is_there))
                    if not is_there:
                        break
                finally:
                    process.actor.kill()
                    queue.give_back(process.given.values())  # other places wait for these runs
                if engine.has_failed(number):
                    break
        except ParagoneError as error:
            await self._fail(error)
        engine.leave(number, is_done=queue.is_done or self._stopped.is_set())

    async def _use(self, index: int, process: _Process, queue: CellQueue) -> None:
        """Let a process execute runs until none is left.

        Raises ProcessLost if the process is gone, and StoreError if the history cannot be read or written.
        """
        actor, engine = process.actor, self._states[index]
        definition = self._engines[index].definition
        opening = asyncio.create_task(actor.begin(definition, process.place.cores, offline=GUARD.is_offline))
        while not opening.done():
            if self._stopped.is_set() or queue.is_done or engine.given_up:
                opening.cancel()
                return
            await asyncio.wait([opening], timeout=0.2)
        shard = await opening
        await self._merge(index, shard, process, queue)
        while shard.given_up is None:
            if self._stopped.is_set() or engine.given_up:
                break
            began = time.monotonic()
            cells = await queue.take(max(0, process.ahead - len(process.given)))
            process.given |= {cell.key: cell for cell in cells}
            if process.given:
                progress = self._work.progress[index]
                progress.began = progress.began or began
                shard = await actor.exchange(cells)
                await self._merge(index, shard, process, queue)
                pace = len(shard.ended) / max(1e-3, time.monotonic() - began)
                process.ahead = min(_MOST_AHEAD, max(_LEAST_AHEAD, round(pace * _AHEAD_S)))
            elif queue.is_done:
                break
            else:  # the runs of another process may be given back
                await queue.changed()
        if shard.given_up is not None:
            engine.fail(process.number, process.place, *shard.given_up)
            return
        try:
            shard = await asyncio.wait_for(actor.end(), END_S)
        except TimeoutError:
            return
        await self._merge(index, shard, process, queue)

    async def _merge(self, index: int, shard: Shard, process: _Process, queue: CellQueue) -> None:
        """Save the runs of a shard, and show the state of its engine. Raises StoreError."""
        engine = self._states[index]
        engine.shards[process.number] = shard
        definition = self._work.registry.public(self._work.request.engines[index])
        executed = []
        for key, result, assertions in shard.ended:
            process.given.pop(key, None)
            if (cell := queue.end(key)) is not None:
                executed.append(
                    ExecutedCell(cell, dataclasses.replace(result, definition=definition), assertions)
                )
        queue.give_back([process.given.pop(key) for key in shard.left if key in process.given])
        if executed:
            await self._work.save(executed)
            engine.losses = 0
        else:
            self._work.observer.progressed()
