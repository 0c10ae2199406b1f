"""Executes the runs of a suite on a cluster: checks the nodes, opens engines on them, and replaces lost processes."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from paragone import InputError, ParagoneError
from paragone.network import GUARD
from paragone.texts import counted
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry, placement_of
from paragone_workbench.experiments import assertions, executor, ray_cluster, suite
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import RunSpec

T = TypeVar("T")

LOSSES = 3
"""Number of processes lost in a row, without an ended run in between, after which the engine is given up."""
END_S = 20.0
"""Seconds within which a process must close its engine."""
MOST_REQUESTS = 64
"""Largest number of requests in progress at one server."""


@dataclass(eq=False)
class _Process:
    place: ray_cluster.Place
    actor: ray_cluster.RemoteActor
    is_open: bool = False
    rate: float | None = None  # tokens per second
    requests: set[asyncio.Future[Any]] = field(default_factory=set)
    """The requests in progress."""


class ClusterEngine:
    """An engine that is open in a process at each of its places. The first run opens the engine everywhere."""

    def __init__(
        self,
        cluster: ray_cluster.Cluster,
        placed: ray_cluster.PlacedEngine,
        recorded: EngineDefinition,
        observer: executor.SuiteObserver,
    ) -> None:
        self.definition = recorded
        self.given_up: ParagoneError | None = None
        self.width = placed.at_once * len(placed.places)
        self._cluster = cluster
        self._placed = placed
        self._observer = observer
        self._processes: list[_Process] = []
        self._openings: set[asyncio.Task[None]] = set()
        self._free: asyncio.Queue[_Process | None] = asyncio.Queue()
        """A process, once for each run that it can take now. None wakes those who wait after the end of the work."""
        self._losses = 0
        """Number of processes that were lost since the last run ended."""
        self._is_begun = self._stopped = False

    @property
    def doing(self) -> str:
        is_open = sum(process.is_open for process in self._processes)
        if is_open:
            return counted(is_open, "place")
        return "" if self._stopped else "starting"

    def tokens_per_second(self, now: float) -> float | None:
        rates = [process.rate for process in self._processes if process.rate is not None]
        return sum(rates) if rates else None

    async def execute(self, spec: RunSpec) -> RunResult | None:
        result = await self._request(lambda actor: actor.ask(spec))
        return None if result is None else dataclasses.replace(result, definition=self.definition)

    async def execute_cell(
        self, cell: suite.Cell, catalog: assertions.AssertionCatalog
    ) -> executor.Checked | None:
        """The node checks the assertions, with those that are installed there."""
        checked = await self._request(lambda actor: actor.run(cell))
        if checked is None:
            return None
        result, results = checked
        return dataclasses.replace(result, definition=self.definition), results

    async def _request(
        self, send: Callable[[ray_cluster.RemoteActor], Awaitable[ray_cluster.RunOutcome[T]]]
    ) -> T | None:
        """Have a process execute a run. If the process is lost, another process gets the run."""
        if not (self._is_begun or self._stopped):
            self._is_begun = True
            for place in self._placed.places:
                self._start(place)
        while not self._stopped and self.given_up is None:
            process = await self._free.get()
            if process is None:
                self._free.put_nowait(None)  # for the next one who waits
                continue
            request = asyncio.ensure_future(send(process.actor))
            process.requests.add(request)
            try:
                executed, process.rate, given_up = await request
            except ray_cluster.ProcessLost as lost:
                self._lose(process, lost)
                continue
            finally:
                process.requests.discard(request)
            if executed is not None:
                self._losses = 0
                self._free.put_nowait(process)
                return executed
            if given_up is None:
                return None
            self._leave(process, _error_at(process.place, given_up))
        return None

    def give_up(self, error: ParagoneError) -> None:
        self.given_up = self.given_up or error
        self._free.put_nowait(None)

    async def stop(self) -> None:
        self._stopped = True
        self._free.put_nowait(None)
        await self.close()

    async def close(self) -> None:
        processes, self._processes = self._processes, []
        for opening in self._openings:
            opening.cancel()
        await asyncio.gather(*map(_end, processes))

    def _start(self, place: ray_cluster.Place) -> None:
        process = _Process(place, self._cluster.start(place))
        self._processes.append(process)
        opening = asyncio.create_task(self._open(process))
        self._openings.add(opening)
        opening.add_done_callback(self._openings.discard)

    async def _open(self, process: _Process) -> None:
        place = process.place
        try:
            why = await process.actor.begin(self._placed.definition, place.cores, offline=GUARD.is_offline)
        except ray_cluster.ProcessLost as lost:
            self._lose(process, lost)
            return
        if why is not None:
            self._leave(process, _error_at(place, why))
            return
        process.is_open = True
        for _ in range(self._placed.at_once):
            self._free.put_nowait(process)
        self._observer.progressed()

    def _lose(self, process: _Process, lost: ray_cluster.ProcessLost) -> None:
        """Handle a lost process, once: another process begins at the place, unless the node is gone."""
        if process not in self._processes:
            return
        name, node = self.definition.name, process.place.node
        is_there = self._cluster.has(node)
        runs = len(process.requests)
        what = (
            f"A process of {name} on the node {node.name} was lost"
            if is_there
            else f"The node {node.name} was lost"
        )
        again = (
            f" {counted(runs, 'run')} of the process {'is' if runs == 1 else 'are'} executed again."
            if runs
            else ""
        )
        self._observer.remarked(f"{what}: {lost}{again}")
        self._losses += 1
        if self._losses >= LOSSES:
            self.give_up(
                ParagoneError(
                    f"Processes of {name} were lost {LOSSES} times in a row, the last one on the node {node.name}: {lost}"
                )
            )
        if is_there and self.given_up is None:
            self._start(process.place)
        self._leave(process, ParagoneError(f"All nodes of the cluster that {name} had places on are gone."))

    def _leave(self, process: _Process, error: ParagoneError) -> None:
        """Stop using a process. If it was the last one, the engine is given up because of `error`."""
        if process not in self._processes:
            return
        self._processes.remove(process)
        process.actor.kill()
        if not self._processes:
            self.give_up(error)


def _error_at(place: ray_cluster.Place, why: ray_cluster.Sentences) -> ParagoneError:
    return ParagoneError(f"On the node {place.node.name}: {why[0]}", hint=why[1])


async def _end(process: _Process) -> None:
    """End a process. The runs that have ended on the node arrive before."""
    if process.is_open:
        with contextlib.suppress(TimeoutError, ray_cluster.ProcessLost):
            async with asyncio.timeout(END_S):
                await process.actor.end()
                if process.requests:
                    await asyncio.wait(process.requests)
    process.actor.kill()


class RayExecutor(executor.LocalExecutor):
    """Executes runs at the places of a cluster. Servers are asked from this machine, which has their keys."""

    elsewhere = True

    def __init__(self, work: executor.SuiteWork, planned: ClusterPlan) -> None:
        super().__init__(work, mode="parallel", most_requests=MOST_REQUESTS)
        self._planned = planned
        self._opened: list[ClusterEngine] = []

    async def _execute_all(self, engines: Sequence[int]) -> None:
        work, placed = self._work, self._planned.engines
        servers = [index for index in engines if index not in placed]
        chosen = [index for index in engines if index in placed]
        for index in chosen:
            work.progress[index].engine = self._engines[index] = self._at_places(
                placed[index], work.request.engines[index]
            )

        async def in_turn(indices: Sequence[int]) -> None:
            for index in indices:
                await self._drain([index])
                await self._engines[index].stop()  # so that the next engine has room

        groups = [[index] for index in chosen] if work.request.schedule == "parallel" else [chosen]
        async with asyncio.TaskGroup() as tasks:
            if servers:
                tasks.create_task(super()._execute_all(servers))
            for group in groups:
                tasks.create_task(in_turn(group))

    def _judge(self, name: str) -> executor.WorkingEngine:
        if name not in self._planned.judges:
            return super()._judge(name)
        return self._at_places(self._planned.judges[name], self._work.request.judges[name])

    def _at_places(self, placed: ray_cluster.PlacedEngine, definition: EngineDefinition) -> ClusterEngine:
        recorded = self._work.registry.public(definition)
        engine = ClusterEngine(self._planned.cluster, placed, recorded, self._work.observer)
        self._opened.append(engine)
        return engine

    async def judges(self, names: Sequence[str]) -> Mapping[str, executor.WorkingEngine]:
        await self._close_engines()
        return await super().judges(names)

    async def close(self) -> None:
        await self._close_engines()
        await super().close()
        await self._planned.cluster.leave()

    async def _close_engines(self) -> None:
        await asyncio.gather(*(engine.close() for engine in self._opened))


_SHOWN = 10
"""Largest number of problems that the message lists."""


def check_nodes(reports: Mapping[str, ray_cluster.NodeReport], sizes: Mapping[str, int | None]) -> None:
    """Raise InputError if a node lacks something. `sizes` are the sizes of files here: digests would take minutes."""
    problems: list[str] = []
    known = dict(sizes)
    for node, found in reports.items():
        if found.paragone != ray_cluster.own_version():
            problems.append(
                f"The node {node} has paragone {found.paragone}, and this machine {ray_cluster.own_version()}."
            )
        for path, size in found.files.items():
            if size is None:
                problems.append(f"The node {node} lacks the file {path}.")
            elif known.get(path) is None:
                known[path] = size
            elif size != known[path]:
                problems.append(
                    f"The file {path} has {size:,} bytes on the node {node}, and {known[path]:,} elsewhere."
                )
        problems += [
            f"{engine} cannot be opened on the node {node}: {sentence}"
            for engine, sentence in found.problems.items()
        ]
    if problems:
        more = [f"{len(problems) - _SHOWN:,} more problems."] if len(problems) > _SHOWN else []
        raise InputError(
            "\n".join([*problems[:_SHOWN], *more]),
            hint="Nothing was run. All nodes need the same version of paragone, and the models' files at the same paths.",
        )


@dataclass(frozen=True, slots=True)
class ClusterPlan:
    """Where engines, by index in the request, and judges, by name, are opened. `RayExecutor.close` leaves the cluster in the end."""

    cluster: ray_cluster.Cluster
    engines: Mapping[int, ray_cluster.PlacedEngine]
    judges: Mapping[str, ray_cluster.PlacedEngine]

    @property
    def sentence(self) -> str:
        placed = {one.definition.name: one.places for one in (*self.engines.values(), *self.judges.values())}
        if not placed:
            return "All engines are servers, which are asked from here."
        nodes = {name: len({place.node.id for place in places}) for name, places in placed.items()}
        listed = [f"{name}: {len(placed[name])} on {counted(count, 'node')}" for name, count in nodes.items()]
        return f"Places on the cluster: {', '.join(listed)}."


async def plan(text: str, request: suite.SuiteRequest, registry: Registry) -> ClusterPlan:
    """Return the plan for a request on the cluster that `--on` names. Raises InputError if the cluster cannot run the suite."""
    if request.schedule not in ("swap", "parallel"):
        raise InputError(
            f"On a cluster, engines cannot be scheduled {request.schedule!r}: their runs are executed on different machines.",
            hint="Leave --schedule out, for one engine after the other on all nodes; or use --schedule parallel.",
        )
    cluster = await ray_cluster.Cluster.join(text)
    try:
        return await _planned(cluster, request, registry)
    except BaseException:
        await cluster.leave()
        raise


async def _planned(
    cluster: ray_cluster.Cluster, request: suite.SuiteRequest, registry: Registry
) -> ClusterPlan:
    def is_local(engine: EngineDefinition) -> bool:
        return registry.get(engine.backend).capabilities.local

    engines = {
        index: ray_cluster.placed(engine) for index, engine in enumerate(request.engines) if is_local(engine)
    }
    judges = {name: ray_cluster.placed(judge) for name, judge in request.judges.items() if is_local(judge)}
    if not engines and not judges:
        return ClusterPlan(cluster, {}, {})
    nodes = [node for node in cluster.nodes() if node.cpus]
    if not nodes:
        raise InputError(
            "No node of the cluster has a CPU to give.", hint="`ray status` shows what its nodes have."
        )
    # A judge may have the name of another engine.
    named = {name: dataclasses.replace(judge, name=f"The judge {name}") for name, judge in judges.items()}
    asked = [*engines.values(), *named.values()]
    files = dict.fromkeys(
        path for one in asked for path in ray_cluster.files_of(one, registry.get(one.backend))
    )
    reports = await cluster.reports(nodes, asked, list(files), offline=GUARD.is_offline)
    check_nodes(
        {node.name: reports[node.id] for node in nodes}, {path: ray_cluster.size_of(path) for path in files}
    )

    def places(engine: EngineDefinition, at_once: int) -> Sequence[ray_cluster.Place]:
        found = [
            place
            for node in nodes
            for place in ray_cluster.places_on(
                node, reports[node.id].estimates.get(engine.name), engines=at_once
            )
        ]
        if not found:
            raise InputError(
                f"{engine.name} fits on no node of the cluster.",
                hint="`paragone fit` says how much memory it takes, and `ray status` what the nodes have.",
            )
        return found

    def put(engine: EngineDefinition, found: Sequence[ray_cluster.Place]) -> ray_cluster.PlacedEngine:
        sharing = placement_of(engine, registry.get(engine.backend)).sharing
        return ray_cluster.PlacedEngine(definition=engine, places=found, at_once=max(2, sharing))

    at_once = len(engines) if request.schedule == "parallel" else 1
    return ClusterPlan(
        cluster,
        {index: put(engine, places(engine, at_once)) for index, engine in engines.items()},
        {name: put(judge, places(named[name], len(judges))) for name, judge in judges.items()},
    )
