"""Decide whether engines fit in memory together."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from paragone import EngineError, MemoryEstimate, ParagoneError
from paragone.wording import size_text
from paragone_workbench.engines import questions
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.machine.memory import MARGIN


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleDecision:
    """The schedule for a set of engines, and the reason as a sentence."""

    mode: Literal["parallel", "swap"]
    reason: str


async def decide(engines: Iterable[EngineHandle]) -> ScheduleDecision:
    """Decide whether to keep engines open together or one at a time. Never raises.

    Open engines already have their memory; the closed engines must fit in the free memory.
    """
    local = [engine for engine in engines if engine.is_local]
    if len(local) < 2:
        return ScheduleDecision(
            mode="parallel", reason="At most one of the engines computes on this machine."
        )
    closed = [engine for engine in local if not engine.is_open]
    estimates = await asyncio.gather(*map(_estimate, closed))
    needed: defaultdict[str, int] = defaultdict(int)
    free: dict[str, int] = {}
    for engine, estimate in zip(closed, estimates, strict=True):
        if isinstance(estimate, ParagoneError):
            reason = f"The memory that {engine.definition.name} needs is unknown: {estimate.sentence}"
            return ScheduleDecision(mode="parallel", reason=reason)
        for device in estimate.devices:
            needed[device.device] += device.needed
            if device.free is not None:
                free[device.device] = max(device.free, free.get(device.device, 0))
    for name, size in needed.items():
        if name in free and size + MARGIN > free[name]:
            reason = f"Together the engines need {size_text(size)} on {name}, but {size_text(free[name])} are free."
            return ScheduleDecision(mode="swap", reason=reason)
    listed = ", ".join(f"{size_text(size)} on {name}" for name, size in needed.items())
    return ScheduleDecision(
        mode="parallel", reason=f"The engines fit in memory together: {listed or 'all are open'}."
    )


async def _estimate(engine: EngineHandle) -> MemoryEstimate | ParagoneError:
    if engine.backend is None:
        return EngineError(f"There is no backend {engine.definition.backend!r}.")
    try:
        return await questions.estimate(engine.backend, engine.definition)
    except ParagoneError as error:
        return error
