"""Finds out which engines fit in the memory of this machine, or of GPUs that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paragone import InputError, ParagoneError
from paragone.wording import counted, size_text
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.measure.fit.division import KEPT_FREE, Division
from paragone_workbench.measure.fit.memory_plan import HYPOTHETICAL, MemoryPlan
from paragone_workbench.measure.fit.planner import MemoryPlanner
from paragone_workbench.store.experiment_records import EstimatedMemory

_SLOWER = 10
"""The factor by which a CPU is slower than a GPU for a layer, in the example in a message about offload."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineMemory:
    """The memory that an engine takes.

    Attributes:
        estimate: The bytes on all devices; None if unknown.
        misfit: A sentence that says why the engine does not fit; empty if the engine fits, or if the memory is unknown.
        unknown: A sentence that says why the memory is unknown; empty if it is known.
        error: Why the engine cannot be opened, such as a missing file; None if no obstacle is known.
    """

    engine: str
    estimate: EstimatedMemory | None = None
    misfit: str = ""
    unknown: str = ""
    error: InputError | None = None


async def memory_of(engine: EngineDefinition, registry: Registry, vram: Sequence[int]) -> EngineMemory:
    """Estimate the memory of an engine, on this machine or on GPUs with `vram` free bytes each.

    The estimate is for a context of 4,096 tokens, unless the engine's options set another one.
    """
    backend = registry.get(engine.backend)
    if not backend.capabilities.estimate:
        return EngineMemory(engine=engine.name, unknown=f"{backend.title} cannot estimate memory.")
    try:
        plan = await MemoryPlanner(engine, backend, vram=vram, comparable=True).plan()
    except InputError as error:
        return EngineMemory(engine=engine.name, error=error)
    except ParagoneError as error:
        return EngineMemory(engine=engine.name, unknown=error.sentence)
    fits = plan.fits_whole if vram else plan.fits is not False
    return EngineMemory(
        engine=engine.name,
        estimate=EstimatedMemory(engine=engine.name, size=plan.needed, context=plan.context),
        misfit="" if fits else _misfit(engine.name, plan),
    )


def _misfit(name: str, plan: MemoryPlan) -> str:
    gpus = [device for device in plan.devices if device.device.startswith(HYPOTHETICAL)]
    limits = gpus or [device for device in plan.devices if device.fits is False]
    free = sum(device.free or 0 for device in limits)
    where = (
        f"GPUs of this size leave {size_text(free) if free else 'nothing'} for a model: of each GPU, {size_text(KEPT_FREE)} stay free for the driver and as a margin"
        if gpus
        else f"{size_text(free)} are free on {' and '.join(device.device for device in limits)}"
    )
    sentence = f"{name} does not fit: it takes {size_text(plan.needed)} with a context of {plan.context:,} tokens, and {where}."
    offload = plan.hypothetical or plan.offload
    if offload is not None and plan.layers is not None:
        sentence += _part(offload, plan.layers)
    return sentence


def _part(offload: Division, layers: int) -> str:
    """Return sentences about how much of a model would fit on GPUs, and about the effect on the speed."""
    rest = layers - offload.count
    if not offload.count:
        return " No layer would fit."
    if rest:
        times = 1 + (_SLOWER - 1) * rest / layers
        return (
            f" {offload.count} of {layers} layers would fit. The CPU would compute the other {rest} for each token: where it takes "
            f"{_SLOWER} times as long for a layer as a GPU, an answer takes about {times:.1f} times as long as on the GPU alone."
        )
    if offload.expert_layers:
        return (
            f" The model would fit with the experts of {counted(offload.expert_layers, 'layer')} in main memory, which the CPU "
            "would compute for each token: that is slower than on the GPU alone."
        )
    return ""
