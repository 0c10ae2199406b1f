"""Checks, before any run, whether the nodes of a cluster can run a suite, and names what each node lacks."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from paragone import InputError
from paragone.network import GUARD
from paragone.texts import counted
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.executor import SuiteWork
from paragone_workbench.experiments.ray_cluster import (
    Cluster,
    NodeReport,
    Place,
    PlacedEngine,
    files_of,
    own_version,
    placed,
    places_on,
    size_of,
)
from paragone_workbench.experiments.ray_executor import RayExecutor
from paragone_workbench.experiments.suite import SuiteRequest

_SHOWN = 10
"""Largest number of problems that the message lists."""


def check_nodes(reports: Mapping[str, NodeReport], sizes: Mapping[str, int | None]) -> None:
    """Raise InputError if a node lacks something. `sizes` has the files' sizes on this machine; None for a missing file.

    Files are compared by size: a digest of tens of gigabytes on each node would take minutes.
    """
    problems: list[str] = []
    known = dict(sizes)
    for node, found in reports.items():
        if found.paragone != own_version():
            problems.append(
                f"The node {node} has paragone {found.paragone}, and this machine {own_version()}."
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
    """Where the engines of a request are opened. `RayExecutor.close` leaves the cluster in the end."""

    cluster: Cluster
    engines: Mapping[int, PlacedEngine]
    """The engines that are opened on nodes, by index in the request."""
    judges: Mapping[str, PlacedEngine]
    """The judges that are opened on nodes, by name."""

    def executor(self, work: SuiteWork) -> RayExecutor:
        return RayExecutor(work, self.cluster, self.engines, self.judges)

    @property
    def sentence(self) -> str:
        counts = {
            placed.definition.name: (len(placed.places), len({place.node.id for place in placed.places}))
            for placed in (*self.engines.values(), *self.judges.values())
        }
        listed = ", ".join(
            f"{name}: {places} on {counted(nodes, 'node')}" for name, (places, nodes) in counts.items()
        )
        servers = "All engines are servers, which are asked from here."
        return f"Places on the cluster: {listed}." if listed else servers


async def plan(text: str, request: SuiteRequest, registry: Registry) -> ClusterPlan:
    """Return the plan for a request on the cluster that `--on` names.

    Raises InputError, before any run, if there is no cluster, or if a node cannot run the suite.
    """
    if request.schedule not in ("swap", "parallel"):
        raise InputError(
            f"On a cluster, engines cannot be scheduled {request.schedule!r}: their runs are executed on different machines.",
            hint="Leave --schedule out, for one engine after the other on all nodes; or use --schedule parallel.",
        )
    cluster = await Cluster.join(text)
    try:
        return await _planned(cluster, request, registry)
    except BaseException:
        await cluster.leave()
        raise


async def _planned(cluster: Cluster, request: SuiteRequest, registry: Registry) -> ClusterPlan:
    def is_local(engine: EngineDefinition) -> bool:
        return registry.get(engine.backend).capabilities.local

    engines = {index: placed(engine) for index, engine in enumerate(request.engines) if is_local(engine)}
    judges = {name: placed(judge) for name, judge in request.judges.items() if is_local(judge)}
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
    files = dict.fromkeys(path for one in asked for path in files_of(one, registry.get(one.backend)))
    reports = await cluster.reports(nodes, asked, list(files), offline=GUARD.is_offline)
    check_nodes({node.name: reports[node.id] for node in nodes}, {path: size_of(path) for path in files})

    def places(engine: EngineDefinition, at_once: int) -> Sequence[Place]:
        found = [
            place
            for node in nodes
            for place in places_on(node, reports[node.id].estimates.get(engine.name), engines=at_once)
        ]
        if not found:
            raise InputError(
                f"{engine.name} fits on no node of the cluster.",
                hint="`paragone fit` says how much memory it takes, and `ray status` what the nodes have.",
            )
        return found

    at_once = len(engines) if request.schedule == "parallel" else 1
    return ClusterPlan(
        cluster,
        {
            index: PlacedEngine(definition=engine, places=places(engine, at_once))
            for index, engine in engines.items()
        },
        {
            name: PlacedEngine(definition=judge, places=places(named[name], len(judges)))
            for name, judge in judges.items()
        },
    )
