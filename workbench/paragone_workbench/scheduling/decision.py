"""Whether engines fit in memory together."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from paragone import EngineError, MemoryEstimate, OpenRequest, ParagoneError
from paragone_workbench.engines.definitions import split_options
from paragone_workbench.engines.error_boundary import as_told
from paragone_workbench.engines.handle import EngineHandle

__all__ = ["Decision", "decide"]

MARGIN = 1 << 30
"""Bytes of each device that are left free: llama.cpp's own margin (common/fit.cpp)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """How engines are run, and the reason in a sentence."""

    mode: Literal["parallel", "swap"]
    why: str


async def decide(engines: Iterable[EngineHandle]) -> Decision:
    """Decide whether engines are open together or one at a time. Never raises.

    Those that are open have their memory already: the others must fit in what is left.
    """
    here = [engine for engine in engines if engine.is_local]
    if len(here) < 2:
        return Decision(mode="parallel", why="At most one of the engines computes on this machine.")
    local = [engine for engine in here if not engine.is_open]
    answers = await asyncio.gather(*map(_estimate, local))
    needed: defaultdict[str, int] = defaultdict(int)
    free: dict[str, int] = {}
    for engine, answer in zip(local, answers, strict=True):
        if isinstance(answer, ParagoneError):
            why = f"What {engine.definition.name} needs is unknown: {answer.sentence}"
            return Decision(mode="parallel", why=why)
        for device in answer.devices:
            needed[device.device] += device.needed
            if device.free is not None:
                free[device.device] = max(device.free, free.get(device.device, 0))
    for name, size in needed.items():
        if name in free and size + MARGIN > free[name]:
            why = (
                f"Together they need {size / 1e9:.1f} GB on {name}, where {free[name] / 1e9:.1f} GB are free."
            )
            return Decision(mode="swap", why=why)
    listed = ", ".join(f"{size / 1e9:.1f} GB on {name}" for name, size in needed.items())
    return Decision(mode="parallel", why=f"They fit in memory together: {listed or 'they are open already'}.")


async def _estimate(engine: EngineHandle) -> MemoryEstimate | ParagoneError:
    from paragone_workbench.engines.environments import interpreter

    definition, backend = engine.definition, engine.backend
    if backend is None:
        return EngineError(f"There is no backend {definition.backend!r}.")
    try:
        load, _ = split_options(definition, backend)
        python = interpreter(backend, definition.python)
        return await backend.estimate(OpenRequest(model=definition.model, options=load, python=python))
    except Exception as error:  # noqa: BLE001 (a plugin's mistake leaves the estimate unknown)
        return as_told(error, backend.name)
