"""Decide whether engines fit in memory together."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from paragone import Caution, EngineError, MemoryEstimate, ParagoneError
from paragone.texts import size_text
from paragone.threads import physical_cores
from paragone_workbench.engines import questions
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.machine import MARGIN, free_memory
from paragone_workbench.sharing import THIS_MACHINE, memory_of, share_model

FREE_TIMEOUT = 5.0
"""Seconds within which the memory of a closed engine must be free again."""


TOLERANCE = 512 << 20
"""Bytes that may still be in use after closing, because other programs also allocate memory."""


class Swapping:
    """Keeps at most one model in the memory of this machine, and of each server with the capability `loads`.

    Call the methods for one turn at a time.
    """

    def __init__(self) -> None:
        self._free_before: dict[str, int] = {}

    async def swap_in(self, engine: EngineHandle, known: Iterable[EngineHandle]) -> tuple[Caution, ...]:
        """Close the other engines of `known` that use the same memory, and open this engine. Return warnings for the user."""
        places = memory_of(engine)
        others = [
            other
            for other in known
            if other is not engine
            and not other.is_empty
            and memory_of(other) & places
            and not share_model(engine, other)
        ]
        cautions: tuple[Caution, ...] = ()
        if others:
            await asyncio.gather(*map(_close, others))
            cautions = tuple({other.left: None for other in others if other.left is not None})
            if not cautions and THIS_MACHINE in places:
                cautions = await self._check(" and ".join(other.definition.name for other in others))
        if not engine.is_open and THIS_MACHINE in places:
            self._free_before = await free_memory()
        engine.open(physical_cores() if engine.is_local else None)
        await engine.opened()
        return cautions

    async def _check(self, closed: str) -> tuple[Caution, ...]:
        """Wait until the memory of the closed engines is free again. Return a warning if the memory is not free in time."""
        deadline = time.monotonic() + FREE_TIMEOUT
        while True:
            free = await free_memory()
            missing = {name: size - free[name] for name, size in self._free_before.items() if name in free}
            leaked = {name: size for name, size in missing.items() if size > TOLERANCE}
            if not leaked:
                return ()
            if time.monotonic() > deadline:
                listed = " and ".join(f"{size_text(size)} of {name}" for name, size in leaked.items())
                sentence = f"{listed} was not freed within {FREE_TIMEOUT:.0f} seconds of closing {closed}."
                return (Caution(code="memory-not-freed", sentence=sentence),)
            await asyncio.sleep(0.1)


async def _close(engine: EngineHandle) -> None:
    """Close an engine, once runs that got their turn under another schedule have ended."""
    await engine.wait_until_unused()
    await engine.close()


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
