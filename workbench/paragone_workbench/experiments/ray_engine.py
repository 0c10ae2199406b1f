"""Executes the runs of a suite on a cluster: checks the nodes, opens engines on them, and replaces lost processes."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version

from paragone import EngineCrashed, InputError, ParagoneError
from paragone.texts import counted
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry, placement_of
from paragone_workbench.experiments import ray_cluster, suite, suite_engine
from paragone_workbench.experiments.ray_cluster import Place
from paragone_workbench.experiments.suite_engine import WorkingEngine
from paragone_workbench.runs.run import RunSpec

LOSSES = 3
"""The engine is given up after the loss of this many processes in a row, without a completed run in between."""
END_S = 20.0
"""Seconds within which a process must close its engine."""


class ClusterEngine(WorkingEngine):
    """An engine that is open in a process at each of its places. The first run opens the engine everywhere."""

    def __init__(
        self,
        cluster: ray_cluster.Cluster,
        places: Sequence[Place],
        recorded: EngineDefinition,
        notify: Callable[[str], object],
    ) -> None:
        """`recorded` is the definition in the history. For `notify`, see `SuiteRunner`."""
        super().__init__(recorded)
        self.width = sum(place.at_once for place in places)
        self._cluster = cluster
        self._places = places
        self._notify = notify
        self._processes: list[ray_cluster.NodeProcess] = []
        self._openings: set[asyncio.Task[None]] = set()
        self._free: asyncio.Queue[ray_cluster.NodeProcess | None] = asyncio.Queue()
        """Each process, once for each run that it can take now. After the end of the work, None wakes the waiting tasks."""
        self._losses = 0
        """Number of processes that were lost since the last run ended."""
        self._is_begun = self._stopped = False

    @property
    def doing(self) -> str:
        is_open = sum(process.is_open for process in self._processes)
        if is_open:
            return counted(is_open, "place")
        return "" if self._stopped else "starting"

    @property
    def tokens_per_second(self) -> float | None:
        rates = [rate for process in self._processes if (rate := process.tokens_per_second) is not None]
        return sum(rates) if rates else None

    async def execute(
        self, spec: RunSpec, prompt: suite.SuitePrompt | None = None
    ) -> suite_engine.Executed | None:
        """Let a process execute a run, and check the answer with the assertions that are installed on its node. If
        the process is lost, another process gets the run."""
        if not (self._is_begun or self._stopped):
            self._is_begun = True
            for place in self._places:
                self._start(place)
        while not self._stopped and self.given_up is None:
            process = await self._free.get()
            if process is None:
                self._free.put_nowait(None)  # for the next waiting task
                continue
            request = asyncio.ensure_future(process.execute(spec, prompt))
            process.requests.add(request)
            try:
                executed, process.tokens_per_second, why = await request
            except EngineCrashed as lost:
                self._lose(process, lost)
                continue
            finally:
                process.requests.discard(request)
            if executed is not None:
                self._losses = 0
                self._free.put_nowait(process)
                result, checks = executed
                manifest = {**result.manifest, "node": process.place.node.name}
                return dataclasses.replace(result, definition=self.definition, manifest=manifest), checks
            if why is None:
                return None
            self._leave(process, _error_at(process.place, why))
        return None

    def give_up(self, error: ParagoneError) -> None:
        super().give_up(error)
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

    def _start(self, place: Place) -> None:
        process = self._cluster.start(place)
        self._processes.append(process)
        opening = asyncio.create_task(self._open(process))
        self._openings.add(opening)
        opening.add_done_callback(self._openings.discard)

    async def _open(self, process: ray_cluster.NodeProcess) -> None:
        try:
            why = await process.begin()
        except EngineCrashed as lost:
            self._lose(process, lost)
            return
        if why is not None:
            self._leave(process, _error_at(process.place, why))
            return
        process.is_open = True
        for _ in range(process.place.at_once):
            self._free.put_nowait(process)
        self._notify("")

    def _lose(self, process: ray_cluster.NodeProcess, lost: EngineCrashed) -> None:
        """Handle a lost process, once: another process begins at the place, unless the node is gone."""
        if process not in self._processes:
            return
        name, node = self.definition.name, process.place.node
        is_there = self._cluster.has(node)
        what = f"A process of {name} on the node {node.name}" if is_there else f"The node {node.name}"
        again = ""
        if runs := len(process.requests):
            again = f" {counted(runs, 'run')} of the process {'is' if runs == 1 else 'are'} executed again."
        self._notify(f"{what} was lost: {lost}{again}")
        self._losses += 1
        if self._losses >= LOSSES:
            self.give_up(
                ParagoneError(
                    f"Processes of {name} were lost {LOSSES} times in a row, the last one on the node {node.name}: {lost}"
                )
            )
        if is_there and self.given_up is None:
            self._start(process.place)
        self._leave(process, ParagoneError(f"All nodes of the cluster on which {name} had places are gone."))

    def _leave(self, process: ray_cluster.NodeProcess, error: ParagoneError) -> None:
        """Stop using a process. If it was the last one, the engine is given up because of `error`."""
        if process not in self._processes:
            return
        self._processes.remove(process)
        process.kill()
        if not self._processes:
            self.give_up(error)


def _error_at(place: Place, why: ray_cluster.Sentences) -> ParagoneError:
    return ParagoneError(f"On the node {place.node.name}: {why[0]}", hint=why[1])


async def _end(process: ray_cluster.NodeProcess) -> None:
    """End a process, after the arrival of the runs that have ended on the node."""
    if process.is_open:
        with contextlib.suppress(TimeoutError, EngineCrashed):
            async with asyncio.timeout(END_S):
                await process.end()
                if process.requests:
                    await asyncio.wait(process.requests)
    process.kill()


_SHOWN = 10
"""Largest number of problems that the message lists."""


def check_nodes(
    reports: Mapping[str, ray_cluster.NodeReport], here: Mapping[str, ray_cluster.Content | None]
) -> None:
    """Raise InputError if a node lacks something. `here` are the files of this machine."""
    problems: list[str] = []
    known = dict(here)
    for node, found in reports.items():
        if found.installed != (own := version("paragone")):
            problems.append(f"The node {node} has paragone {found.installed}, and this machine {own}.")
        for path, content in found.files.items():
            if content is None:
                problems.append(f"The node {node} lacks the file {path}.")
            elif content != (other := known.get(path) or content):
                sizes = f"{content[0]:,} bytes on the node {node}, and {other[0]:,} elsewhere"
                is_same = content[0] == other[0]
                differs = (
                    f"other content on the node {node} than elsewhere, but the same size"
                    if is_same
                    else sizes
                )
                problems.append(f"The file {path} has {differs}.")
            known[path] = known.get(path) or content
        problems += [
            f"{engine} cannot be opened on the node {node}: {message}"
            for engine, message in found.problems.items()
        ]
    if problems:
        more = [f"{len(problems) - _SHOWN:,} more problems."] if len(problems) > _SHOWN else []
        raise InputError(
            "\n".join([*problems[:_SHOWN], *more]),
            hint="Nothing was run. All nodes need the same version of paragone, and the models' files at the same paths.",
        )


async def joined_cluster(text: str, request: suite.SuiteRequest, registry: Registry) -> ray_cluster.Cluster:
    """Join the cluster that `--on` names, and find places there. Raises InputError if it cannot run the suite."""
    if request.schedule not in ("swap", "parallel"):
        raise InputError(
            f"On a cluster, engines cannot be scheduled {request.schedule!r}: their runs are executed on different machines.",
            hint="Omit --schedule, for one engine after the other on all nodes; or use --schedule parallel.",
        )
    cluster = await ray_cluster.Cluster.join(text)
    try:
        await _find_places(cluster, request, registry)
    except BaseException:
        await cluster.leave()
        raise
    return cluster


async def _find_places(cluster: ray_cluster.Cluster, request: suite.SuiteRequest, registry: Registry) -> None:
    def is_local(engine: EngineDefinition) -> bool:
        return registry.get(engine.backend).capabilities.local

    engines = {
        index: ray_cluster.placed(engine) for index, engine in enumerate(request.engines) if is_local(engine)
    }
    judges = {name: ray_cluster.placed(judge) for name, judge in request.judges.items() if is_local(judge)}
    if not engines and not judges:
        return
    nodes = [node for node in cluster.nodes() if node.cpus]
    if not nodes:
        raise InputError(
            "No node of the cluster has a free CPU.", hint="`ray status` shows the resources of its nodes."
        )
    # A judge may have the name of another engine.
    named = {name: dataclasses.replace(judge, name=f"The judge {name}") for name, judge in judges.items()}
    asked = [*engines.values(), *named.values()]
    files = {
        path: ray_cluster.content_of(path)
        for one in asked
        for path in ray_cluster.files_of(one, registry.get(one.backend))
    }
    reports = await cluster.reports(nodes, asked, list(files))
    check_nodes({node.name: reports[node.id] for node in nodes}, files)

    def places_of(engine: EngineDefinition, name: str, engines_at_once: int) -> Sequence[Place]:
        """Return the places of an engine, which the reports call `name`."""
        runs = max(2, placement_of(engine, registry.get(engine.backend)).sharing)
        places: list[Place] = []
        for node in nodes:
            estimate = reports[node.id].estimates.get(name)
            places += ray_cluster.places_on(node, engine, estimate, engines=engines_at_once, at_once=runs)
        if not places:
            raise InputError(
                f"{name} does not fit on any node of the cluster.",
                hint="`paragone fit` shows how much memory it needs, and `ray status` how much the nodes have.",
            )
        return places

    at_once = len(engines) if request.schedule == "parallel" else 1
    cluster.engines = {index: places_of(engine, engine.name, at_once) for index, engine in engines.items()}
    cluster.judges = {name: places_of(it, named[name].name, len(judges)) for name, it in judges.items()}
