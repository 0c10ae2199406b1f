"""Measurements that follow one another in a limited time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from paragone_workbench.stoppable import Stoppable


class TimeLimit:
    """Stops the measurement in progress when the time is over, or when `stop` is called."""

    def __init__(self, seconds: float | None) -> None:
        """Start the clock. `seconds` is None for no limit."""
        self.stopped = False
        """Whether `stop` was called."""
        self._ends = None if seconds is None else time.monotonic() + seconds
        self._work: Stoppable | None = None

    @property
    def left(self) -> float | None:
        """Seconds that are left, not below 0; None without a limit."""
        return None if self._ends is None else max(0.0, self._ends - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether the time is over or `stop` was called, so that no measurement may begin."""
        return self.stopped or self.left == 0

    @contextlib.asynccontextmanager
    async def limiting(self, work: Stoppable, seconds: float | None = None) -> AsyncIterator[None]:
        """Stop a measurement after `seconds`, or when the time for all measurements is over.

        The engines of the measurement are closed at the end of the block.
        """
        self._work = work
        limits = [limit for limit in (seconds, self.left) if limit is not None]
        timer = asyncio.create_task(_stop_after(work, min(limits))) if limits else None
        try:
            yield
        finally:
            if timer is not None:
                timer.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await timer
            await work.close()
            self._work = None

    async def stop(self) -> None:
        """End the measurement in progress, and begin no other."""
        self.stopped = True
        if self._work is not None:
            await self._work.stop()

    async def close(self) -> None:
        """Close the engines of the measurement in progress."""
        if self._work is not None:
            await self._work.close()


async def _stop_after(work: Stoppable, seconds: float) -> None:
    await asyncio.sleep(seconds)
    await work.stop()
