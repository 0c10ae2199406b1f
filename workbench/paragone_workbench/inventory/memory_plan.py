"""Memory plans: how an engine's estimate lies on the devices of this machine, or on a hypothetical GPU."""

from __future__ import annotations

from dataclasses import dataclass, replace

from paragone import DeviceMemory, EngineError, MemoryEstimate, ModelLayout
from paragone_workbench.machine.memory import MARGIN

__all__ = ["DRIVER", "HYPOTHETICAL", "MemoryPlan", "place", "scaled"]

HYPOTHETICAL = "hypothetical GPU"
"""The name of a GPU that this machine need not have."""

DRIVER = 450 << 20
"""Bytes that a GPU's driver takes for a process, about. Plans leave them out."""

_MAIN = "CPU"
"""The name of main memory in estimates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan:
    """The memory that an engine would take.

    Attributes:
        context: Context window in tokens.
        trained_context: Context window that the model was trained for; None if unknown.
        devices: The memory on each device, and what is free there.
        layers: Number of layers. In a plan for a hypothetical GPU the output counts as one. None if unknown.
        gpu_layers: How many of them are on a GPU; None if unknown.
        offload: How many layers, with the output, the machine's GPUs have room for, if not for all; else None.
    """

    context: int
    trained_context: int | None
    devices: tuple[DeviceMemory, ...]
    layers: int | None
    gpu_layers: int | None
    offload: int | None = None

    @property
    def fits(self) -> bool | None:
        """Whether it fits on every device; None if that is unknown."""
        found = [device.fits for device in self.devices]
        return False if False in found else None if None in found else True

    @property
    def fits_whole(self) -> bool:
        """Whether it fits, and is either wholly on a GPU or planned without one."""
        return bool(self.fits) and (len(self.devices) == 1 or self.layers == self.gpu_layers)

    @property
    def is_tight(self) -> bool:
        """Whether it fits, but leaves less free than the margin that the schedule `auto` wants."""
        return bool(self.fits) and any(
            device.free is not None and device.free - device.needed < MARGIN for device in self.devices
        )

    @property
    def needed(self) -> int:
        """Bytes on all devices together."""
        return sum(device.needed for device in self.devices)


def place(found: MemoryEstimate, *, vram: int | None, whole: bool = False) -> MemoryPlan:
    """Return the plan of an estimate: as the engine would lie, or for a hypothetical GPU with `vram` free bytes.

    With `whole`, all of the model goes to that GPU, whether it fits or not. Raises EngineError if the estimate has
    no layout and a hypothetical GPU needs it.
    """
    devices, layers, gpu_layers = found.devices, found.layers, found.gpu_layers
    if vram is not None:
        if found.layout is None:
            raise EngineError("The backend does not say how a model can be divided between devices.")
        layers = len(found.layout.parts)
        gpu_layers = layers if whole else _fitting(found.layout, vram)
        main = next((it for it in found.devices if it.device == _MAIN), None)
        devices = _divided(found.layout, gpu_layers, vram, main)
    return MemoryPlan(
        context=found.context,
        trained_context=found.trained_context,
        devices=devices,
        layers=layers,
        gpu_layers=gpu_layers,
        offload=_offload(found) if vram is None else None,
    )


def _offload(found: MemoryEstimate) -> int | None:
    """Return how many parts the GPUs of an estimate have room for; None if they have for all, or it is unknown."""
    gpus = [device for device in found.devices if device.device != _MAIN]
    if found.layout is None or not found.layout.splits or all(gpu.fits is not False for gpu in gpus):
        return None
    room = sum((gpu.free or 0) - found.layout.compute for gpu in gpus)
    return _fitting(found.layout, room + found.layout.compute)


def _fitting(layout: ModelLayout, room: int) -> int:
    """Return how many parts fit in `room` bytes of a GPU, counted from the last; all if the model cannot be divided."""
    if not layout.splits:
        return len(layout.parts)
    needed = layout.compute
    for count, part in enumerate(reversed(layout.parts)):
        needed += part.weights + part.kv_cache
        if needed > room:
            return count
    return len(layout.parts)


def _divided(
    layout: ModelLayout, count: int, room: int, main: DeviceMemory | None
) -> tuple[DeviceMemory, DeviceMemory]:
    """Return the memory of a model with its last `count` parts on a GPU with `room` free bytes."""
    at = len(layout.parts) - count
    rest, there = layout.parts[:at], layout.parts[at:]
    gpu = DeviceMemory(
        device=HYPOTHETICAL,
        weights=sum(part.weights for part in there),
        kv_cache=sum(part.kv_cache for part in there),
        compute=layout.compute if there else 0,
        free=room,
    )
    cpu = DeviceMemory(
        device=_MAIN,
        weights=layout.main_weights + sum(part.weights - part.shared for part in rest),
        kv_cache=sum(part.kv_cache for part in rest),
        compute=0 if not rest or main is None else main.compute,
        free=None if main is None else main.free,
        total=None if main is None else main.total,
    )
    return gpu, cpu


def scaled(found: MemoryEstimate, factor: float) -> MemoryEstimate:
    """Return the estimate with its weights multiplied by a factor."""

    def times(size: int) -> int:
        return round(size * factor)

    layout = found.layout
    if layout is not None:
        parts = [
            replace(part, weights=times(part.weights), shared=times(part.shared)) for part in layout.parts
        ]
        layout = replace(layout, parts=tuple(parts), main_weights=times(layout.main_weights))
    devices = tuple(replace(device, weights=times(device.weights)) for device in found.devices)
    return replace(found, devices=devices, layout=layout)
