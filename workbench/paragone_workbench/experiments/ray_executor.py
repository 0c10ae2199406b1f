"""Executes the runs of a suite on a cluster. The runs and judgements of a lost process go to other processes."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import time
from collections import deque
from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from paragone import ParagoneError
from paragone.network import GUARD
from paragone.texts import counted
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.experiments import executor, ray_cluster
from paragone_workbench.experiments.suite import Cell
from paragone_workbench.runs.run import RunSpec
from paragone_workbench.store import RunKey


class CellQueue:
    """Gives each run to one process at a time."""

    def __init__(self, cells: AsyncGenerator[Cell, None]) -> None:
        self._cells = executor.SharedIterator(cells)
        self._returned: deque[Cell] = deque()
        self._given: dict[RunKey, Cell] = {}
        self._exhausted = False
        self._changed = asyncio.Event()

    @property
    def is_done(self) -> bool:
        """Whether all runs have ended: no run waits, and no process executes a run."""
        return self._exhausted and not self._returned and not self._given

    async def take(self, most: int) -> list[Cell]:
        """Return up to `most` runs; none if no run waits now. Raises StoreError if the next run cannot be read."""
        taken: list[Cell] = []
        while len(taken) < most:
            cell = self._returned.popleft() if self._returned else await self._cells.take()
            if cell is None:
                if not self._exhausted:
                    self._exhausted = True
                    self._changed.set()
                break
            taken.append(cell)
            self._given[cell.key] = cell
        return taken

    def end(self, key: RunKey) -> Cell | None:
        """Note that a run has ended, and return the run; None if the run was given back before."""
        self._changed.set()
        return self._given.pop(key, None)

    def give_back(self, cells: Iterable[Cell]) -> None:
        """Take runs back from a process, so that other processes execute these runs."""
        for cell in cells:
            if self._given.pop(cell.key, None) is not None:
                self._returned.append(cell)
        self._changed.set()

    def notify(self) -> None:
        """Let those who wait in `changed` look again."""
        self._changed.set()

    async def changed(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def close(self) -> None:
        await self._cells.close()


LOSSES = 3
"""Number of processes lost in a row, without an ended run in between, after which the engine is given up."""


class ClusterEngine:
    """An engine that is open at several places."""

    def __init__(self, name: str, places: int) -> None:
        self.given_up: ParagoneError | None = None
        self.shards: dict[int, ray_cluster.Shard] = {}
        """The last report of each process, by the number of the place."""
        self.losses = 0
        """Number of processes that were lost since the last run ended."""
        self._name = name
        self._places = set(range(places))
        """The places that are in use."""
        self.failed: dict[int, ParagoneError] = {}
        """The errors of the places that are no longer in use, by the number of the place."""

    @property
    def doing(self) -> str:
        """The number of places where the engine is open, as text; what a process does, if the engine is open nowhere yet."""
        is_open = sum(not shard.doing for shard in self.shards.values())
        if is_open:
            return counted(is_open, "place")
        return next((shard.doing for shard in self.shards.values()), "starting" if self._places else "")

    def tokens_per_second(self, now: float) -> float | None:
        rates = [shard.rate for shard in self.shards.values() if shard.rate is not None]
        return sum(rates) if rates else None

    def give_up(self, error: ParagoneError) -> None:
        self.given_up = self.given_up or error

    def lose(self, place: ray_cluster.Place, why: str, runs: int, *, is_there: bool) -> str:
        """Count a lost process, and return a sentence about it. After `LOSSES` lost processes in a row, give the engine up."""
        self.losses += 1
        node = place.node.name
        what = (
            f"A process of {self._name} on the node {node} was lost"
            if is_there
            else f"The node {node} was lost"
        )
        if self.losses >= LOSSES:
            self.give_up(
                ParagoneError(
                    f"Processes of {self._name} were lost {LOSSES} times in a row, the last one on the node {node}: {why}"
                )
            )
        again = (
            f" {counted(runs, 'run')} of the process {'is' if runs == 1 else 'are'} executed again."
            if runs
            else ""
        )
        return f"{what}: {why}{again}"

    def fail(self, place_number: int, place: ray_cluster.Place, sentence: str, hint: str) -> None:
        """Stop using a place whose process gave the engine up."""
        self.failed[place_number] = ParagoneError(f"On the node {place.node.name}: {sentence}", hint=hint)

    def leave(self, place_number: int, *, is_done: bool = False) -> None:
        """Stop using a place. If no place is left, the engine is given up, unless all runs are done."""
        self.shards.pop(place_number, None)
        self._places.discard(place_number)
        if not self._places and not is_done:
            why = next(iter(self.failed.values()), None)
            self.give_up(
                why or ParagoneError(f"All nodes of the cluster that {self._name} had places on are gone.")
            )


_ASKED_AT_ONCE = 2
"""Number of requests that a process has at a time, so that its engine never waits for the next request."""
END_S = 20.0
"""Seconds within which a process must close its engine."""


@dataclasses.dataclass(eq=False)
class _JudgeProcess:
    number: int
    place: ray_cluster.Place
    actor: ray_cluster.RemoteActor | None = None
    opening: asyncio.Future[ray_cluster.Shard] | None = None
    asked: int = 0
    """Number of requests in progress."""


class ClusterJudge:
    """A judge whose engine is open in a process at each of its places. Implements `JudgeEngine`."""

    def __init__(
        self,
        cluster: ray_cluster.Cluster,
        placed: ray_cluster.PlacedEngine,
        recorded: EngineDefinition,
        observer: executor.SuiteObserver,
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
        return self._state.given_up

    @property
    def width(self) -> int:
        return _ASKED_AT_ONCE * len(self._processes)

    async def execute(self, spec: RunSpec) -> executor.Executed | None:
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
            except ray_cluster.ProcessLost as lost:
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
        self._state.give_up(error)

    async def stop(self) -> None:
        self._stopped = True
        await self.close()

    async def close(self) -> None:
        await asyncio.gather(*(self._end(process) for process in self._processes))

    async def _end(self, process: _JudgeProcess) -> None:
        actor, process.actor = process.actor, None
        opening, process.opening = process.opening, None
        if actor is None or opening is None:
            return
        if opening.done() and opening.exception() is None:
            with contextlib.suppress(TimeoutError, ray_cluster.ProcessLost):
                await asyncio.wait_for(actor.end(), END_S)
        actor.kill()

    def _lose(self, process: _JudgeProcess, lost: ray_cluster.ProcessLost) -> None:
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


MOST_REQUESTS = 64
"""Largest number of requests in progress at one server."""
_AHEAD_S = 0.5
"""Seconds for which a process gets runs in advance, so that its engine never waits for the next run."""
_LEAST_AHEAD, _MOST_AHEAD = 2, 100


@dataclass(eq=False)
class _Process:
    actor: ray_cluster.RemoteActor
    number: int
    place: ray_cluster.Place
    given: dict[RunKey, Cell] = field(default_factory=dict)
    ahead: int = _LEAST_AHEAD
    """Number of runs that the process is given at a time."""


class RayExecutor:
    """Executes runs at the places of a cluster. Servers are asked from this machine, which has their keys."""

    elsewhere = True

    def __init__(
        self,
        work: executor.SuiteWork,
        cluster: ray_cluster.Cluster,
        engines: Mapping[int, ray_cluster.PlacedEngine],
        judges: Mapping[str, ray_cluster.PlacedEngine],
    ) -> None:
        """`engines`, by index in the request, and `judges`, by name, are opened on nodes."""
        self._work = work
        self._cluster = cluster
        self._engines = engines
        self._judges = judges
        self._states: dict[int, ClusterEngine] = {}
        self._queues: list[CellQueue] = []
        self._asked_judges: dict[str, ClusterJudge] = {}
        self._servers = executor.LocalExecutor(work, mode="parallel", most_requests=MOST_REQUESTS)
        self._stopped = asyncio.Event()
        self._failure: ParagoneError | None = None

    async def execute(self, engines: Sequence[int]) -> None:
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

    async def judges(self, names: Sequence[str]) -> Mapping[str, executor.JudgeEngine]:
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
        self._stopped.set()
        for queue in self._queues:
            queue.notify()
        stopping = [judge.stop() for judge in self._asked_judges.values()]
        await asyncio.gather(self._servers.stop(), *stopping)

    async def close(self) -> None:
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
        for index in indices:
            queue = CellQueue(self._work.unfinished([index]))
            self._queues.append(queue)
            async with asyncio.TaskGroup() as tasks:
                for number, place in enumerate(self._engines[index].places):
                    tasks.create_task(self._run_process(index, number, place, queue))
            await queue.close()

    async def _run_process(self, index: int, number: int, place: ray_cluster.Place, queue: CellQueue) -> None:
        engine = self._states[index]
        try:
            while not (self._stopped.is_set() or queue.is_done or engine.given_up):
                process = _Process(self._cluster.start(place), number, place)
                try:
                    await self._use(index, process, queue)
                except ray_cluster.ProcessLost as lost:
                    engine.shards.pop(number, None)
                    is_there = self._cluster.has(place.node)
                    runs = len(process.given)
                    self._work.observer.remarked(engine.lose(place, str(lost), runs, is_there=is_there))
                    if not is_there:
                        break
                finally:
                    process.actor.kill()
                    queue.give_back(process.given.values())  # other places wait for these runs
                if number in engine.failed:
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
        opening.add_done_callback(lambda _: queue.notify())
        while not opening.done():
            if self._stopped.is_set() or queue.is_done or engine.given_up:
                opening.cancel()
                return
            await queue.changed()
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

    async def _merge(self, index: int, shard: ray_cluster.Shard, process: _Process, queue: CellQueue) -> None:
        """Save the runs of a shard, and show the state of its engine. Raises StoreError."""
        engine = self._states[index]
        engine.shards[process.number] = shard
        definition = self._work.registry.public(self._work.request.engines[index])
        executed = []
        for key, result, assertions in shard.ended:
            process.given.pop(key, None)
            if (cell := queue.end(key)) is not None:
                executed.append(
                    executor.ExecutedCell(
                        cell, dataclasses.replace(result, definition=definition), assertions
                    )
                )
        queue.give_back([process.given.pop(key) for key in shard.left if key in process.given])
        if executed:
            await self._work.save(executed)
            engine.losses = 0
        else:
            self._work.observer.progressed()
