"""One engine in memory at a time: opened for its turn, closed when another one needs the room."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable

from paragone import Caution
from paragone.cores import physical_cores
from paragone_workbench.engines.handle import EngineHandle
from paragone_workbench.machine.memory import free_memory

__all__ = ["Swapping"]

PATIENCE = 5.0
"""Seconds in which the memory of a closed engine must have come back."""

SLACK = 512 << 20
"""Bytes that may be missing: other programs take and free memory, too."""


class Swapping:
    """Has one engine in memory of those that compute on this machine. One turn at a time."""

    def __init__(self) -> None:
        self._free_before: dict[str, int] = {}

    async def bring_in(self, engine: EngineHandle, known: Iterable[EngineHandle]) -> tuple[Caution, ...]:
        """Open an engine, having closed the others that are known. Returns what the user should know of that."""
        if not engine.is_local:
            engine.open()
            await engine.opened()
            return ()
        cautions: tuple[Caution, ...] = ()
        others = [it for it in known if it is not engine and it.is_local and not it.is_empty]
        if others:
            await asyncio.gather(*map(_close, others))
            cautions = await self._check(" and ".join(it.definition.name for it in others))
        if not engine.is_open:
            self._free_before = await free_memory()
        engine.open(physical_cores())
        await engine.opened()
        return cautions

    async def _check(self, closed: str) -> tuple[Caution, ...]:
        """Wait until the closed engine's memory is free again, and say so where it is not."""
        deadline = time.monotonic() + PATIENCE
        while True:
            free = await free_memory()
            missing = {name: size - free[name] for name, size in self._free_before.items() if name in free}
            kept = {name: size for name, size in missing.items() if size > SLACK}
            if not kept:
                return ()
            if time.monotonic() > deadline:
                listed = " and ".join(f"{size / 1e9:.1f} GB of {name}" for name, size in kept.items())
                sentence = f"{listed} did not come back within {PATIENCE:.0f} seconds of closing {closed}."
                return (Caution(code="memory-not-freed", sentence=sentence),)
            await asyncio.sleep(0.1)


async def _close(engine: EngineHandle) -> None:
    """Close an engine once its run, which had its turn under another schedule, is over."""
    await engine.unused()
    await engine.close()
