"""The queue of runs that several processes execute: the runs of a lost process go to other processes."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Iterable

from paragone_workbench.experiments.running.cells import Cell
from paragone_workbench.experiments.running.executing.shared_iterator import SharedIterator
from paragone_workbench.store import RunKey


class CellQueue:
    """Gives each run to one process at a time."""

    def __init__(self, cells: AsyncGenerator[Cell, None]) -> None:
        self._cells = SharedIterator(cells)
        self._returned: deque[Cell] = deque()
        self._given: dict[RunKey, Cell] = {}
        self._exhausted = False
        self._changed = asyncio.Event()

    @property
    def is_done(self) -> bool:
        """Whether all runs have ended: no run waits, and no process executes a run."""
        return self._exhausted and not self._returned and not self._given

    async def take(self, most: int) -> list[Cell]:
        """Return up to `most` runs; none if no run waits now. Raises StoreError if the next run cannot be read."""
        taken: list[Cell] = []
        while len(taken) < most:
            cell = self._returned.popleft() if self._returned else await self._cells.take()
            if cell is None:
                if not self._exhausted:
                    self._exhausted = True
                    self._changed.set()
                break
            taken.append(cell)
            self._given[cell.key] = cell
        return taken

    def end(self, key: RunKey) -> Cell | None:
        """Note that a run has ended, and return the run; None if the run was given back before."""
        self._changed.set()
        return self._given.pop(key, None)

    def give_back(self, cells: Iterable[Cell]) -> None:
        """Take runs back from a process, so that other processes execute these runs."""
        for cell in cells:
            if self._given.pop(cell.key, None) is not None:
                self._returned.append(cell)
        self._changed.set()

    async def changed(self) -> None:
        """Wait until runs end or are given back."""
        self._changed.clear()
        await self._changed.wait()

    async def close(self) -> None:
        """Read no more runs."""
        await self._cells.close()
