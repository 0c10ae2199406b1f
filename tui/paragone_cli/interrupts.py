"""Handles Ctrl+C while engines answer."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

from paragone_workbench.workbench import Workbench

__all__ = ["InterruptHandler"]


class InterruptHandler:
    """Stops the engines at the first Ctrl+C, so that partial answers can be printed; a second one ends the program."""

    def __init__(self, workbench: Workbench) -> None:
        self.interrupted = False
        """Whether Ctrl+C was pressed."""
        self._workbench = workbench
        self._stopping: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Stop the engines."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._workbench.stop())

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
            await self._workbench.close()
            if before is not signal.SIG_IGN:
                loop.remove_signal_handler(signal.SIGINT)
                signal.signal(signal.SIGINT, before)

    def _first(self) -> None:
        self.interrupted = True
        asyncio.get_running_loop().remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        self.stop()
