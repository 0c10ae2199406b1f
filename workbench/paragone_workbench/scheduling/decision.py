"""Decides whether engines fit in memory together."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from paragone import EngineError, MemoryEstimate, OpenRequest, ParagoneError
from paragone_workbench.engines.definitions import split_options
from paragone_workbench.engines.error_boundary import as_paragone_error
from paragone_workbench.engines.handle import EngineHandle

__all__ = ["Decision", "decide"]

MARGIN = 1 << 30
"""Bytes to leave free on each device: the margin that llama.cpp uses (common/fit.cpp)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """The schedule for a set of engines, and the reason in a sentence."""

    mode: Literal["parallel", "swap"]
    reason: str


async def decide(engines: Iterable[EngineHandle]) -> Decision:
    """Decide whether to keep engines open together or one at a time. Never raises.

    Engines that are open have their memory already; the others must fit in what is free.
    """
    local = [engine for engine in engines if engine.is_local]
    if len(local) < 2:
        return Decision(mode="parallel", reason="At most one of the engines computes on this machine.")
    closed = [engine for engine in local if not engine.is_open]
    estimates = await asyncio.gather(*map(_estimate, closed))
    needed: defaultdict[str, int] = defaultdict(int)
    free: dict[str, int] = {}
    for engine, estimate in zip(closed, estimates, strict=True):
        if isinstance(estimate, ParagoneError):
            reason = f"The memory that {engine.definition.name} needs is unknown: {estimate.sentence}"
            return Decision(mode="parallel", reason=reason)
        for device in estimate.devices:
            needed[device.device] += device.needed
            if device.free is not None:
                free[device.device] = max(device.free, free.get(device.device, 0))
    for name, size in needed.items():
        if name in free and size + MARGIN > free[name]:
            reason = f"Together the engines need {size / 1e9:.1f} GB on {name}, but {free[name] / 1e9:.1f} GB are free."
            return Decision(mode="swap", reason=reason)
    listed = ", ".join(f"{size / 1e9:.1f} GB on {name}" for name, size in needed.items())
    return Decision(
        mode="parallel", reason=f"The engines fit in memory together: {listed or 'all are open'}."
    )


async def _estimate(engine: EngineHandle) -> MemoryEstimate | ParagoneError:
    from paragone_workbench.engines.environments import interpreter

    definition, backend = engine.definition, engine.backend
    if backend is None:
        return EngineError(f"There is no backend {definition.backend!r}.")
    try:
        load, _ = split_options(definition, backend)
        python = interpreter(backend, definition.python)
        return await backend.estimate(OpenRequest(model=definition.model, options=load, python=python))
    except Exception as error:  # noqa: BLE001 (a plugin's error only leaves the estimate unknown)
        return as_paragone_error(error, backend.name)
