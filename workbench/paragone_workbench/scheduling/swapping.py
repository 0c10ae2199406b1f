"""Keep one engine in memory at a time: open an engine for its turn, and close it when another engine has its turn."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from paragone import Caution
from paragone.cores import physical_cores
from paragone.wording import size_text
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.machine.memory import free_memory
from paragone_workbench.scheduling.sharing import THIS_MACHINE, memory_of, share_model

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
