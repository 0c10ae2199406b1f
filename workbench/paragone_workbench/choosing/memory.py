"""Which of the engines in question fit in memory: of this machine, or of GPUs that the user names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from paragone import ParagoneError
from paragone.wording import size_text
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.measure.fit.memory_plan import HYPOTHETICAL, MemoryPlan
from paragone_workbench.measure.fit.planner import MemoryPlanner


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineMemory:
    """The memory that an engine takes.

    Attributes:
        engine: The engine's name.
        needed: Bytes on all devices; None if unknown.
        context: The context window in tokens for which they are estimated; None if unknown.
        misfit: Why the engine does not fit, in a sentence; empty if it does, or if that is unknown.
        unknown: Why nothing is known, in a sentence; empty if it is.
    """

    engine: str
    needed: int | None = None
    context: int | None = None
    misfit: str = ""
    unknown: str = ""


async def memory_of(engine: EngineDefinition, registry: Registry, vram: Sequence[int]) -> EngineMemory:
    """Estimate the memory of an engine, on this machine or on GPUs with `vram` free bytes each."""
    try:
        planner = MemoryPlanner(engine, registry.get(engine.backend), vram=vram)
        plan = await planner.plan()
    except ParagoneError as error:
        return EngineMemory(engine=engine.name, unknown=error.sentence)
    fits = plan.fits_whole if vram else plan.fits is not False
    return EngineMemory(
        engine=engine.name,
        needed=plan.needed,
        context=plan.context,
        misfit="" if fits else _misfit(engine.name, plan),
    )


def _misfit(name: str, plan: MemoryPlan) -> str:
    gpus = [device for device in plan.devices if device.device.startswith(HYPOTHETICAL)]
    limits = gpus or [device for device in plan.devices if device.fits is False]
    free = sum(device.free or 0 for device in limits)
    where = (
        f"GPUs of this size leave {size_text(free)} for a model"
        if gpus
        else f"{size_text(free)} are free on {' and '.join(device.device for device in limits)}"
    )
    sentence = f"{name} does not fit: it takes {size_text(plan.needed)} with a context of {plan.context:,} tokens, and {where}."
    offload = plan.hypothetical or plan.offload
    if offload is not None and plan.layers is not None and offload.count < plan.layers:
        sentence += f" {offload.count} of {plan.layers} layers would fit."
    return sentence
