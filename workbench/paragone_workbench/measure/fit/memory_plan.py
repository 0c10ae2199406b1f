"""Memory plans: how an engine's memory is divided between the devices of this machine, or hypothetical GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

from paragone import DeviceMemory, EngineError, MemoryEstimate, ModelLayout
from paragone_workbench.machine.memory import MARGIN
from paragone_workbench.measure.fit.division import KEPT_FREE, Division, best, on_gpus

HYPOTHETICAL = "hypothetical GPU"
"""The name of a GPU that this machine need not have. If there are several such GPUs, a number follows the name."""

_MAIN = "CPU"
"""The name of main memory in estimates."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryPlan(MemoryEstimate):
    """An estimate of an engine's memory, divided between the devices of this machine or hypothetical GPUs.

    Hypothetical GPUs come first in `devices`, without `KEPT_FREE` in their free memory. In plans for hypothetical
    GPUs, the model's output counts as a layer.
    """

    hypothetical: Division | None = None
    """How the model is divided between hypothetical GPUs; None in a plan for this machine."""
    offload: Division | None = None
    """The best division between the machine's GPUs and main memory, if not all layers fit on the GPUs; else None."""

    @property
    def experts_option(self) -> str:
        """The load option for the number of first layers whose experts stay in main memory; empty if unknown."""
        return self.layout.experts_option if self.layout is not None else ""

    @property
    def fits(self) -> bool | None:
        """Whether the model fits on every device; None if that is unknown."""
        found = [device.fits for device in self.devices]
        return False if False in found else None if None in found else True

    @property
    def fits_whole(self) -> bool:
        """Whether the model fits, and is either wholly on GPUs or planned without a GPU."""
        split = self.hypothetical is not None and self.hypothetical.expert_layers > 0
        return bool(self.fits) and (len(self.devices) == 1 or (self.layers == self.gpu_layers and not split))

    @property
    def is_tight(self) -> bool:
        """Whether the model fits, but leaves less memory free than the margin that the schedule `auto` requires."""
        return bool(self.fits) and any(
            device.free is not None and device.free - device.needed < MARGIN for device in self.devices
        )

    @property
    def needed(self) -> int:
        """Bytes on all devices together."""
        return sum(device.needed for device in self.devices)


def place(found: MemoryEstimate, *, vram: Sequence[int] = (), division: Division | None = None) -> MemoryPlan:
    """Return the plan of an estimate: for this machine, or for hypothetical GPUs with `vram` free bytes each.

    `division` is the division to use on hypothetical GPUs, whether or not the parts fit; by default the best division.
    Raises EngineError if hypothetical GPUs are given and the estimate has no layout.
    """
    plan = MemoryPlan(**{field.name: getattr(found, field.name) for field in fields(MemoryEstimate)})
    if not vram:
        return replace(plan, offload=_offload(found))
    if found.layout is None:
        raise EngineError("The backend does not say how a model can be divided between devices.")
    rooms = [max(0, size - KEPT_FREE) for size in vram]
    division = division or best(found.layout, rooms)
    main = next((device for device in found.devices if device.device == _MAIN), None)
    return replace(
        plan,
        devices=(*_hypothetical(found.layout, division, rooms), _main(found.layout, division, main)),
        layers=len(found.layout.parts),
        gpu_layers=division.count,
        hypothetical=division,
    )


def _offload(found: MemoryEstimate) -> Division | None:
    """Return the best division between the GPUs of an estimate.

    None if the whole model fits on the GPUs, or if it is unknown how the model can be divided.
    """
    gpus = [device for device in found.devices if device.device != _MAIN]
    if found.layout is None or not found.layout.splits or all(gpu.fits is not False for gpu in gpus):
        return None
    return best(found.layout, [max(0, (gpu.free or 0) - KEPT_FREE) for gpu in gpus])


def _hypothetical(layout: ModelLayout, division: Division, rooms: Sequence[int]) -> list[DeviceMemory]:
    numbers = [f" {number}" for number in range(len(rooms))] if len(rooms) > 1 else [""]
    gpus = zip(on_gpus(layout, division, rooms), numbers, rooms, strict=True)
    return [replace(gpu, device=f"{HYPOTHETICAL}{number}", free=room) for gpu, number, room in gpus]


def _main(layout: ModelLayout, division: Division, main: DeviceMemory | None) -> DeviceMemory:
    """Return the memory that the model takes in main memory. `main` is the estimate without hypothetical GPUs."""
    at = len(layout.parts) - division.count
    rest = layout.parts[:at]
    experts = sum(part.experts for part in layout.parts[at : division.expert_layers])
    return DeviceMemory(
        device=_MAIN,
        weights=layout.main_weights + experts + sum(part.weights - part.shared for part in rest),
        kv_cache=sum(part.kv_cache for part in rest),
        compute=main.compute if main is not None and (rest or experts) else 0,
        free=None if main is None else main.free,
        total=None if main is None else main.total,
    )


def scaled(found: MemoryEstimate, factor: float) -> MemoryEstimate:
    """Return the estimate with the weights multiplied by a factor."""

    def times(size: int) -> int:
        return round(size * factor)

    layout = found.layout
    if layout is not None:
        parts = [
            replace(part, weights=times(part.weights), shared=times(part.shared), experts=times(part.experts))
            for part in layout.parts
        ]
        layout = replace(layout, parts=tuple(parts), main_weights=times(layout.main_weights))
    devices = tuple(replace(device, weights=times(device.weights)) for device in found.devices)
    return replace(found, devices=devices, layout=layout)
