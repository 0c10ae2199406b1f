"""Handles Ctrl+C while engines answer."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator
from typing import Protocol

__all__ = ["InterruptHandler"]


class Work(Protocol):
    """What engines do for a command."""

    async def stop(self) -> None:
        """End it early, so that partial results can be printed."""

    async def close(self) -> None:
        """Close the engines."""


class InterruptHandler:
    """Stops the engines at the first Ctrl+C, so that partial results can be printed; a second one ends the program."""

    def __init__(self, work: Work) -> None:
        self.interrupted = False
        """Whether Ctrl+C was pressed."""
        self._work = work
        self._stopping: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Stop the engines."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._work.stop())

    @contextlib.asynccontextmanager
    async def installed(self) -> AsyncIterator[None]:
        """Handle SIGINT, unless it is ignored, and close the engines at the end of the block."""
        before = signal.getsignal(signal.SIGINT)
        loop = asyncio.get_running_loop()
        if before is not signal.SIG_IGN:
            loop.add_signal_handler(signal.SIGINT, self._first)
        try:
            yield
        finally:
            if self._stopping is not None:
                await self._stopping
            await self._work.close()
            if before is not signal.SIG_IGN:
                loop.remove_signal_handler(signal.SIGINT)
                signal.signal(signal.SIGINT, before)

    def _first(self) -> None:
        self.interrupted = True
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.stop()
