"""Divides a model between main memory and GPUs, with as many layers as possible on the GPUs.

Several GPUs get layers in proportion to the room on each GPU, as in llama.cpp (`load_tensors` in src/llama-model.cpp), or are
filled one after the other. If not all layers fit, the experts of the first layers stay in main memory, as with
llama.cpp's `--n-cpu-moe`. If that is not enough, the first layers stay in main memory as a whole.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

from paragone import DeviceMemory, ModelLayout
from paragone_workbench.machine.memory import MARGIN

DRIVER = 450 << 20
"""Approximate number of bytes that a GPU's driver takes for a process."""

KEPT_FREE = DRIVER + MARGIN
"""Bytes of each GPU that plans leave free: the driver's share and the margin that llama.cpp keeps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """Which parts of a model are on GPUs."""

    count: int
    """Number of parts on GPUs, counted from the last."""
    expert_layers: int = 0
    """Number of parts, counted from the first, whose experts stay in main memory."""


def whole(layout: ModelLayout) -> Division:
    """Return the division with everything on GPUs."""
    return Division(count=len(layout.parts))


def best(layout: ModelLayout, rooms: Sequence[int]) -> Division:
    """Return the division that puts as much as possible on the GPUs. `rooms` has the bytes for the model on each GPU.

    An indivisible model is placed on GPUs as a whole, even if there is too little room.
    """
    choices = _choices(layout) if layout.splits else iter([whole(layout)])
    found = whole(layout)
    for found in choices:
        memory = on_gpus(layout, found, rooms)
        if all(gpu.needed <= room for gpu, room in zip(memory, rooms, strict=True)):
            break
    return found


def on_gpus(layout: ModelLayout, division: Division, rooms: Sequence[int]) -> list[DeviceMemory]:
    """Return the memory that the model takes on each GPU, with empty names of the GPUs."""
    at = len(layout.parts) - division.count
    parts = [
        (part.weights - (part.experts if index < division.expert_layers else 0), part.kv_cache)
        for index, part in enumerate(layout.parts)
    ][at:]
    gpus = list(_in_order(layout, parts, rooms) if layout.in_order else _in_proportion(len(parts), rooms))
    # For a long prompt, a GPU copies experts from main memory, one layer at a time, and computes with the copies.
    copied = max((part.experts for part in layout.parts[at : division.expert_layers]), default=0)
    return [
        DeviceMemory(
            device="",
            weights=sum(weights for (weights, _), used in zip(parts, gpus, strict=True) if used == gpu),
            kv_cache=sum(cache for (_, cache), used in zip(parts, gpus, strict=True) if used == gpu),
            compute=layout.compute + copied if gpu in gpus else 0,
        )
        for gpu in range(len(rooms))
    ]


def _choices(layout: ModelLayout) -> Iterator[Division]:
    """Yield the divisions, from everything on GPUs to nothing on GPUs."""
    count = len(layout.parts)
    yield Division(count=count)
    most = max((index + 1 for index, part in enumerate(layout.parts) if part.experts), default=0)
    yield from (Division(count=count, expert_layers=layers) for layers in range(1, most + 1))
    yield from (Division(count=fewer, expert_layers=most) for fewer in range(count - 1, -1, -1))


def _in_proportion(count: int, rooms: Sequence[int]) -> Iterator[int]:
    """Yield the GPU of each of `count` parts. llama.cpp counts the margin, which plans leave free, as free memory."""
    free = [room + MARGIN for room in rooms]
    ends = [end / sum(free) for end in accumulate(free)]
    yield from (min(bisect_right(ends, index / count), len(rooms) - 1) for index in range(count))


def _in_order(layout: ModelLayout, parts: Sequence[tuple[int, int]], rooms: Sequence[int]) -> Iterator[int]:
    """Yield the GPU of each part. The last GPU gets everything that does not fit."""
    gpu, left = 0, rooms[0] - layout.compute
    for weights, cache in parts:
        while weights + cache > left and gpu < len(rooms) - 1:
            gpu += 1
            left = rooms[gpu] - layout.compute
        left -= weights + cache
        yield gpu
