"""The interface to Ray, which no other module imports. Ray has no checked types, so this module checks Ray's values."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from paragone import InputError
from paragone.installation import install_command
from paragone.threads import in_daemon_thread
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.experiments.on_ray.address import check_reachable, cluster_address
from paragone_workbench.experiments.on_ray.cell_actor import CellActor, Shard
from paragone_workbench.experiments.on_ray.node_report import NodeReport, report
from paragone_workbench.experiments.on_ray.places import Node, Place
from paragone_workbench.experiments.running.cells import Cell
from paragone_workbench.experiments.running.executing.suite_engine import Executed
from paragone_workbench.runs.spec import RunSpec

T = TypeVar("T")

CONNECT_S = 40.0
"""Seconds within which this process must have joined or left the cluster."""
REPORT_S = 180.0
"""Seconds within which a node must report. The node may have to import paragone from a cold disk."""


class ProcessLost(Exception):
    """A process on a node is gone, alone or with its node. The text of the error says why."""


def _ray() -> Any:
    """Import Ray with usage reports switched off. Raises InputError if Ray is not installed."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Ray's metrics need the dashboard, which paragone does not start.
    os.environ.setdefault("RAY_enable_metrics_collection", "0")
    # Without this, Ray's native code would print between the lines of the progress.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise InputError(
            f"A cluster needs the package ray, and {error.name} is not installed.",
            hint=f"Install it on this machine and on all nodes with: {install_command('ray')}",
        ) from error
    # Without this, Ray's warnings would be printed between the lines of the progress.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    return ray


class RemoteActor:
    """A `CellActor` in a process on a node. Calls raise ProcessLost if the process is gone."""

    def __init__(self, ray: Any, place: Place) -> None:
        self._ray = ray
        options = {
            "num_cpus": place.cpus,
            "num_gpus": place.gpus,
            "memory": place.memory,
            "max_restarts": 0,
            "max_task_retries": 0,
            "scheduling_strategy": _on_node(ray, place.node.id),
        }
        self._actor = ray.remote(CellActor).options(**options).remote()

    async def begin(self, definition: EngineDefinition, cores: int, *, offline: bool) -> Shard:
        """See `CellActor.begin`. Waits until the cluster has room for the process."""
        return await self._call(self._actor.begin.remote(definition, cores, offline=offline))

    async def exchange(self, cells: Sequence[Cell]) -> Shard:
        """See `CellActor.exchange`."""
        return await self._call(self._actor.exchange.remote(list(cells)))

    async def ask(self, spec: RunSpec) -> tuple[Executed | None, tuple[str, str] | None]:
        """See `CellActor.ask`."""
        return await self._call(self._actor.ask.remote(spec))

    async def end(self) -> Shard:
        """See `CellActor.end`."""
        return await self._call(self._actor.end.remote())

    def kill(self) -> None:
        """End the process, unless it has ended."""
        self._ray.kill(self._actor, no_restart=True)

    async def _call(self, result: Awaitable[T]) -> T:
        try:
            return await result
        except self._ray.exceptions.RayError as error:
            raise ProcessLost(_first_line(error)) from error


class Cluster:
    """A cluster that this process has joined."""

    def __init__(self, ray: Any) -> None:
        self._ray = ray

    @classmethod
    async def join(cls, text: str) -> Cluster:
        """Join the cluster that `--on` names.

        Raises InputError if there is no cluster, or if the cluster has another version of Python or Ray than this program.
        """
        address = cluster_address(text)
        try:
            return await _in_thread(lambda: _joined(address))
        except TimeoutError as error:
            raise InputError(
                f"The cluster {text} did not answer within {CONNECT_S:.0f} seconds.",
                hint="Another program may listen at this address: `ray status` on a node says which one its cluster has.",
            ) from error

    def nodes(self) -> Sequence[Node]:
        """Return the nodes that are alive."""
        found = [
            Node(
                id=str(node["NodeID"]),
                name=f"{node['NodeManagerAddress']} ({str(node['NodeID'])[:8]})",
                cpus=float(node["Resources"].get("CPU", 0)),
                gpus=float(node["Resources"].get("GPU", 0)),
                memory=int(node["Resources"].get("memory", 0)),
            )
            for node in self._ray.nodes()
            if node["Alive"]
        ]
        return sorted(found, key=lambda node: node.id)

    def has(self, node: Node) -> bool:
        """Return whether a node is still alive."""
        return any(alive.id == node.id for alive in self.nodes())

    async def reports(
        self,
        nodes: Sequence[Node],
        engines: Sequence[EngineDefinition],
        files: Sequence[str],
        *,
        offline: bool,
    ) -> Mapping[str, NodeReport]:
        """Return the report of each node, by the node's id. Raises InputError if a node sends no report."""
        ray = self._ray
        asked = {}
        for node in nodes:
            options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": _on_node(ray, node.id)}
            remote = ray.remote(report).options(**options)
            asked[node] = asyncio.wait_for(
                remote.remote(list(engines), list(files), offline=offline), REPORT_S
            )
        answers = await asyncio.gather(*asked.values(), return_exceptions=True)
        found: dict[str, NodeReport] = {}
        for node, answer in zip(asked, answers, strict=True):
            if isinstance(answer, NodeReport):
                found[node.id] = answer
            elif isinstance(answer, BaseException) and not isinstance(answer, Exception):
                raise answer
            else:
                raise InputError(_no_report(node, answer), hint="Nothing was run.")
        return found

    def start(self, place: Place) -> RemoteActor:
        """Start a process at a place. The process waits until the cores and GPUs of the place are free."""
        return RemoteActor(self._ray, place)

    async def leave(self) -> None:
        """Leave the cluster. This ends the processes that this program has started on the nodes."""
        with contextlib.suppress(TimeoutError):  # the connection ends with this program anyway
            await _in_thread(self._ray.shutdown)


def _joined(address: str) -> Cluster:
    ray = _ray()
    if address != "auto":
        check_reachable(address)
    try:
        # No runtime environment is sent: each node imports its own installation of paragone.
        ray.init(
            address=address,
            configure_logging=False,
            log_to_driver=False,
            include_dashboard=False,
            namespace="paragone",
        )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError, OSError) as error:
        raise _not_joined(address, error) from error
    return Cluster(ray)


def _not_joined(address: str, error: Exception) -> InputError:
    text = " ".join(str(error).split())
    if "Version mismatch" in text:
        text = text.partition("Version mismatch: ")[2]
        return InputError(
            f"The cluster has another Python or Ray than this program. {text}",
            hint="Start the cluster and this program from environments with the same versions of both.",
        )
    if address == "auto":
        return InputError(
            "This machine belongs to no Ray cluster.",
            hint="`ray start --head` begins one here; `ray start --address=HOST:PORT` joins one.",
        )
    return InputError(
        f"The cluster at {address} cannot be joined: {text}",
        hint="This machine must be one of its nodes: `ray start --address=HOST:PORT` makes it one.",
    )


def _no_report(node: Node, error: object) -> str:
    text = str(error)
    if "No module named" in text:
        missing = text.rpartition("No module named ")[2].split("\n")[0].strip(" '\"")
        return (
            f"The node {node.name} cannot run paragone: its Python has no module {missing}. Start Ray there from the "
            "environment that paragone is installed in."
        )
    if isinstance(error, TimeoutError):
        return f"The node {node.name} did not answer within {REPORT_S:.0f} seconds."
    return f"The node {node.name} cannot run paragone: {_first_line(error)}"


def _first_line(error: object) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return lines[-1] if lines[0].startswith("\x1b[36mray::") else lines[0]


def _on_node(ray: Any, node: str) -> object:
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node_id=node, soft=False)


async def _in_thread(call: Callable[[], T]) -> T:
    """Run a blocking call in a thread, and return the result. Raises TimeoutError after `CONNECT_S` seconds."""
    return await asyncio.wait_for(asyncio.wrap_future(in_daemon_thread(call)), CONNECT_S)
