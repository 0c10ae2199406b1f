"""The interface to Ray: the cluster, its nodes, and processes with engines on them. No other module imports Ray, which has no
types."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import math
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import paragone
from paragone import network, texts, threads
from paragone_workbench.engines import definitions, questions
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments import assertions, suite, suite_engine
from paragone_workbench.paths import accessible
from paragone_workbench.runs.run import RunSpec
from paragone_workbench.runs.scheduler import EnginePool

_ANSWER_S = 5.0
"""Seconds within which the head of a cluster must accept a connection."""
_USUAL_PORT = 6379
"""The port of a cluster's head, unless `ray start --head` sets another one."""


def cluster_address(text: str) -> str:
    """Return the address in Ray's form: `auto` for `ray`, or HOST:PORT. Raises InputError for an invalid address."""
    if text == "ray":
        return "auto"
    if text.startswith("ray://"):
        head = f"HOST:{_USUAL_PORT}"
        with contextlib.suppress(ValueError):
            head = f"{network.bracketed(network.host_and_port(text)[0])}:{_USUAL_PORT}"
        raise paragone.InputError(
            "ray:// is the address of Ray's client server, which ends all engines when a connection is broken for half a minute.",
            hint=f"Write --on {head} instead, with another port if the cluster's head has one. This machine must belong to the "
            f"cluster: `ray start --address={head}` lets it join.",
        )
    host, colon, port = text.rpartition(":")
    if not (host and "/" not in host and colon and port.isdecimal() and 0 < int(port) < 65536):
        raise paragone.InputError(
            f"{text!r} is not an address of a cluster.",
            hint="Write --on ray for the cluster that this machine belongs to, or --on HOST:PORT, such as --on 127.0.0.1:6379.",
        )
    return text


Content: TypeAlias = tuple[int, str]
"""The size of a file, or of all files of a folder, in bytes, and a digest of samples of them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeReport:
    """What a suite needs to know about a node. `contents` has None for a file that the node cannot read. For each engine,
    the report has the memory that it would take, if its backend can estimate that, or why it cannot be opened."""

    installed: str
    """The version of paragone."""
    files: dict[str, Content | None] = field(default_factory=dict)
    estimates: dict[str, paragone.MemoryEstimate | None] = field(default_factory=dict)
    problems: dict[str, str] = field(default_factory=dict)


def report(
    engines: Sequence[definitions.EngineDefinition], files: Sequence[str], *, offline: bool
) -> NodeReport:
    """Return the report of this machine: paragone, the files, and the memory that the engines would take. Blocks."""
    network.GUARD.is_offline = network.GUARD.is_offline or offline
    found = NodeReport(installed=version("paragone"), files={path: content_of(path) for path in files})
    if None not in found.files.values():
        asyncio.run(_estimate(engines, found))
    return found


async def _estimate(engines: Sequence[definitions.EngineDefinition], found: NodeReport) -> None:
    registry = Registry()
    for engine in engines:
        try:
            backend = registry.get(engine.backend)
            definitions.check_engine(engine, backend)
            found.estimates[engine.name] = (
                await questions.estimate(backend, engine) if backend.capabilities.estimate else None
            )
        except paragone.ParagoneError as error:
            found.problems[engine.name] = error.message


def content_of(path: str) -> Content | None:
    """Return the content of a file, or of all files of a folder; None if the path cannot be read."""
    file = Path(path)
    try:
        parts = sorted(part for part in file.iterdir() if part.is_file()) if file.is_dir() else [file]
        found = [paragone.WeightsFile.of(part) for part in parts]
    except OSError:
        return None
    return sum(part.size or 0 for part in found), " ".join(part.sample or "" for part in found)


def placed(engine: definitions.EngineDefinition) -> definitions.EngineDefinition:
    """Return the engine with the absolute path of its model, because a node has another current folder."""
    path = Path(definitions.expand_home(engine.model))
    return dataclasses.replace(engine, model=str(path.absolute())) if accessible(path) else engine


def files_of(engine: definitions.EngineDefinition, backend: paragone.Backend) -> list[str]:
    """Return the files that an engine needs on its node: its model, if that is a file, and files that options name."""
    paths = [engine.model] if Path(engine.model).is_absolute() else []
    for name, (_, info) in definitions.declared_options(backend).items():
        value = engine.options.get(name)
        if info.outside == "file" and isinstance(value, str) and value:
            paths.append(str(Path(definitions.expand_home(value)).absolute()))
    return paths


_MOST_ON_A_GPU = 4
"""Largest number of processes that open an engine on one GPU, even if more fit: the processes compute in turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """`memory` is in bytes."""

    id: str
    name: str
    cpus: float
    gpus: float
    memory: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The node, cores, GPUs and bytes of memory that one process reserves to open an engine, whose definition names the
    model by a path on the nodes. The process has `at_once` runs at a time, so that its engine never waits for the next."""

    node: Node
    definition: definitions.EngineDefinition
    at_once: int = 2
    cpus: float
    gpus: float = 0.0
    memory: int = 0


def places_on(
    node: Node,
    definition: definitions.EngineDefinition,
    estimate: paragone.MemoryEstimate | None,
    *,
    engines: int,
    at_once: int = 2,
) -> Sequence[Place]:
    """Return the places of an engine on a node, while `engines` engines share the cluster. An engine
    that computes on the CPU has one place with an equal share of the CPUs: several copies of the engine would compete
    for the memory's bandwidth. An engine that fits on a GPU several times has several places on that GPU. An engine
    that does not fit has no place."""
    devices = estimate.devices if estimate is not None else ()
    memory = sum(device.needed for device in devices if device.device == "CPU")
    on_gpus = [device for device in devices if device.device != "CPU" and device.needed]
    if node.memory < memory or node.cpus <= 0:
        return ()
    if not on_gpus:
        # Ray accepts a fraction only for less than one CPU
        cpus = float(math.floor(node.cpus / engines)) or node.cpus / engines
        return [Place(node=node, definition=definition, at_once=at_once, cpus=cpus, memory=memory)]
    if len(on_gpus) > 1:
        gpus, count = float(len(on_gpus)), int(node.gpus // len(on_gpus))
    else:
        (device,) = on_gpus
        room = device.free if device.total is None else device.total
        fitting = min(_MOST_ON_A_GPU, (room or 0) // device.needed)
        gpus, count = (1 / max(1, fitting), int(node.gpus) * max(1, fitting))
    count = max(0, count // engines) or min(1, count)
    if memory:
        count = min(count, node.memory // memory)
    cpus = min(1.0, node.cpus / max(1, count))
    place = Place(node=node, definition=definition, at_once=at_once, cpus=cpus, gpus=gpus, memory=memory)
    return [place] * count


T = TypeVar("T")
Sentences: TypeAlias = tuple[str, str]
"""Why an engine was given up, and what to do: the texts of an error, which itself cannot be sent to another process."""
ActorReply: TypeAlias = "tuple[suite_engine.Executed | None, float | None, Sentences | None]"
"""The outcome of a run (None if it did not end by itself), the engine's tokens per second after it, and why the
engine was given up, if it was."""


class EngineActor:
    """An engine that executes runs in a process of its own. Call `begin` before the other methods."""

    def __init__(self) -> None:
        self._pool: EnginePool
        self._catalog: assertions.AssertionCatalog
        self._engine: suite_engine.SuiteEngine

    async def begin(
        self, definition: definitions.EngineDefinition, cores: int, *, offline: bool
    ) -> Sentences | None:
        network.GUARD.is_offline = network.GUARD.is_offline or offline
        self._pool = EnginePool(Registry(), cores=cores)
        self._catalog = assertions.load_assertions()
        self._engine = suite_engine.SuiteEngine(self._pool, definition, self._catalog, lambda: None)
        await self._pool.open_all()
        await self._engine.handle.opened()
        return self._given_up

    async def execute(self, spec: RunSpec, prompt: suite.SuitePrompt | None) -> ActorReply:
        executed = await self._engine.execute(spec, prompt)
        return executed, self._engine.tokens_per_second, self._given_up

    async def end(self) -> None:
        """Stop the runs in progress, and close the engine."""
        await asyncio.gather(self._engine.stop(), self._pool.stop())
        await self._pool.close()
        self._catalog.close()

    @property
    def _given_up(self) -> Sentences | None:
        error = self._engine.given_up
        return None if error is None else (error.message, error.hint)


CONNECT_S = 40.0
"""Seconds within which this process must have joined or left the cluster."""
REPORT_S = 180.0
"""Seconds within which a node must report. The node may have to read paragone from a disk without a cache."""


def _ray() -> Any:
    """Import Ray with usage reports switched off. Raises InputError if Ray is not installed."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    # Ray's metrics need its dashboard, which paragone does not start.
    os.environ.setdefault("RAY_enable_metrics_collection", "0")
    # Without this, Ray's native code would print between the lines of the progress.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise paragone.InputError(
            f"A cluster needs the package ray, and {error.name} is not installed.",
            hint=f"Install it on this machine and on all nodes with: {texts.install_command('ray')}",
        ) from error
    # Without this, Ray's warnings would be printed between the lines of the progress.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    return ray


class NodeProcess:
    """A process with an `EngineActor` on a node. Calls raise EngineCrashed if the process, or its whole node, is gone."""

    def __init__(self, ray: Any, place: Place) -> None:
        self.place = place
        self.is_open = False
        self.tokens_per_second: float | None = None
        self.requests: set[asyncio.Future[ActorReply]] = set()
        """The requests in progress."""
        self._ray = ray
        options = {
            "num_cpus": place.cpus,
            "num_gpus": place.gpus,
            "memory": place.memory,
            "max_restarts": 0,
            "max_task_retries": 0,
            "scheduling_strategy": _on_node(ray, place.node.id),
        }
        self._actor = ray.remote(EngineActor).options(**options).remote()

    async def begin(self) -> Sentences | None:
        """See `EngineActor.begin`. Waits until the cluster has room for the process."""
        cores, is_offline = max(1, math.floor(self.place.cpus)), network.GUARD.is_offline
        return await self._call(self._actor.begin.remote(self.place.definition, cores, offline=is_offline))

    async def execute(self, spec: RunSpec, prompt: suite.SuitePrompt | None) -> ActorReply:
        return await self._call(self._actor.execute.remote(spec, prompt))

    async def end(self) -> None:
        await self._call(self._actor.end.remote())

    def kill(self) -> None:
        self._ray.kill(self._actor, no_restart=True)

    async def _call(self, result: Awaitable[T]) -> T:
        try:
            return await result
        except self._ray.exceptions.RayError as error:
            raise paragone.EngineCrashed(_first_line(error)) from error


class Cluster:
    def __init__(self, ray: Any) -> None:
        self.engines: Mapping[int, Sequence[Place]] = {}
        """The places of engines, by index in the request. Engines without places are servers, which are asked from
        this machine."""
        self.judges: Mapping[str, Sequence[Place]] = {}
        """The places of judges, by name."""
        self._ray = ray

    @classmethod
    async def join(cls, text: str) -> Cluster:
        """Join the cluster that `--on` names. Raises InputError if it does not exist or has another version of Python
        or Ray."""
        address = cluster_address(text)
        try:
            return await _in_thread(lambda: _joined(address))
        except TimeoutError as error:
            raise paragone.InputError(
                f"The cluster {text} did not answer within {CONNECT_S:.0f} seconds.",
                hint="Another program may listen at this address: `ray status` on a node shows the address of its cluster.",
            ) from error

    @property
    def sentence(self) -> str:
        placed = {
            places[0].definition.name: places for places in (*self.engines.values(), *self.judges.values())
        }
        if not placed:
            return "All engines are servers, which are asked from this machine."
        nodes = {name: len({place.node.id for place in places}) for name, places in placed.items()}
        listed = [
            f"{name}: {len(placed[name])} on {texts.counted(count, 'node')}" for name, count in nodes.items()
        ]
        return f"Places on the cluster: {', '.join(listed)}."

    def nodes(self) -> Sequence[Node]:
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
        return any(alive.id == node.id for alive in self.nodes())

    async def reports(
        self, nodes: Sequence[Node], engines: Sequence[definitions.EngineDefinition], files: Sequence[str]
    ) -> Mapping[str, NodeReport]:
        """Return the report of each node, by the node's id. Raises InputError if a node sends no report."""

        async def ask(node: Node) -> NodeReport:
            strategy = _on_node(self._ray, node.id)
            remote = self._ray.remote(report)
            asked = remote.options(num_cpus=0, max_retries=0, scheduling_strategy=strategy).remote(
                list(engines), list(files), offline=network.GUARD.is_offline
            )
            try:
                async with asyncio.timeout(REPORT_S):
                    found: NodeReport = await asked
            except Exception as error:  # Ray's errors have no common base
                raise paragone.InputError(_no_report(node, error), hint="Nothing was run.") from error
            return found

        found = await asyncio.gather(*map(ask, nodes))
        return {node.id: answer for node, answer in zip(nodes, found, strict=True)}

    def start(self, place: Place) -> NodeProcess:
        return NodeProcess(self._ray, place)

    async def leave(self) -> None:
        """Leave the cluster. This ends the processes that this program has started on the nodes."""
        with contextlib.suppress(TimeoutError):  # the connection ends with this program anyway
            await _in_thread(self._ray.shutdown)


def _joined(address: str) -> Cluster:
    ray = _ray()
    if address != "auto":
        network.GUARD.name([address], "the cluster")
        try:
            socket.create_connection(network.host_and_port(address), timeout=_ANSWER_S).close()
        except OSError as error:
            raise paragone.InputError(
                f"There is no cluster at {address}: {error.strerror or error}.",
                hint="`ray status` on a node shows the address of its cluster; `ray start --head` begins one.",
            ) from error
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


def _not_joined(address: str, error: Exception) -> paragone.InputError:
    text = " ".join(str(error).split())
    if "Version mismatch" in text:
        text = text.partition("Version mismatch: ")[2]
        return paragone.InputError(
            f"The cluster has another Python or Ray than this program. {text}",
            hint="Start the cluster and this program from environments with the same versions of both.",
        )
    if address == "auto":
        return paragone.InputError(
            "This machine does not belong to a Ray cluster.",
            hint="`ray start --head` begins one here; `ray start --address=HOST:PORT` joins one.",
        )
    return paragone.InputError(
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
    async with asyncio.timeout(CONNECT_S):
        return await asyncio.wrap_future(threads.in_daemon_thread(call))
