"""The places of an engine on a cluster: how many processes can open the engine, and what each of them reserves."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from paragone import MemoryEstimate
from paragone_workbench.engines.definitions import EngineDefinition

_MOST_ON_A_GPU = 4
"""Largest number of processes that open an engine on one GPU, even if more fit: the processes compute in turns."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Node:
    """A node of a cluster, with all cores, memory and GPUs of the node."""

    id: str
    name: str
    cpus: float
    gpus: float
    memory: int
    """Bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """The node, cores and GPUs that one process reserves to open an engine."""

    node: Node
    cpus: float
    gpus: float = 0.0
    memory: int = 0
    """Bytes."""

    @property
    def cores(self) -> int:
        """The number of CPU cores that the engine may use."""
        return max(1, math.floor(self.cpus))


@dataclass(frozen=True, slots=True, kw_only=True)
class PlacedEngine:
    """An engine and its places. `definition` names the model by a path on the nodes."""

    definition: EngineDefinition
    places: Sequence[Place]


def places_on(node: Node, estimate: MemoryEstimate | None, *, engines: int) -> Sequence[Place]:
    """Return the places of an engine on a node, when `engines` engines share the cluster at the same time.

    An engine that computes on the CPU has one place with an equal share of the CPUs: several copies of the engine would
    compete for the memory's bandwidth. An engine that fits on a GPU several times has several places on that GPU. An
    engine that does not fit has no place.
    """
    devices = estimate.devices if estimate is not None else ()
    memory = sum(device.needed for device in devices if device.device == "CPU")
    on_gpus = [device for device in devices if device.device != "CPU" and device.needed]
    if node.memory < memory or node.cpus <= 0:
        return ()
    if not on_gpus:
        # Ray accepts a fraction only for less than one CPU
        cpus = float(math.floor(node.cpus / engines)) or node.cpus / engines
        return [Place(node=node, cpus=cpus, memory=memory)]
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
    return [Place(node=node, cpus=cpus, gpus=gpus, memory=memory)] * count
