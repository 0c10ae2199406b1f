"""A slot that holds at most one open engine: the next engine is opened after the previous engine is closed."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING

from paragone_workbench.engines.error_boundary import PLUGIN_ERRORS, report

if TYPE_CHECKING:
    from paragone import Caution, OpenEngine


CANCEL_TIMEOUT = 5.0
"""Seconds after which a task that was asked to end is cancelled again."""


class Slot:
    """Opens and closes engines in tasks of its own, which the cancellation of a caller does not interrupt.

    `opened` or `failed` is called at the end of an opening that was not cancelled.
    """

    def __init__(self, opened: Callable[[OpenEngine], None], failed: Callable[[BaseException], None]) -> None:
        self.engine: OpenEngine | None = None
        self.left: Caution | None = None
        """Why the server of the last closed engine keeps the model in memory; None if the server freed the model."""
        self._opened = opened
        self._failed = failed
        self._opening: asyncio.Task[None] | None = None
        self._freeing: asyncio.Task[None] | None = None

    @property
    def is_empty(self) -> bool:
        """Whether no engine is open, being opened, or being closed."""
        freed = self._freeing is None or self._freeing.done()
        return self.engine is None and not self.is_opening and freed

    @property
    def is_opening(self) -> bool:
        """Whether an engine is being opened, or will be once the previous engine is closed."""
        return self._opening is not None and not self._opening.done()

    def open(self, opening: Callable[[], Coroutine[None, None, OpenEngine]]) -> None:
        """Start to open an engine. Call this only while no engine is open or being opened."""
        self._opening = asyncio.create_task(self._open(opening, self._freeing))

    async def settled(self) -> None:
        """Wait until no engine is being opened."""
        while self._opening is not None and not self._opening.done():
            await asyncio.wait([self._opening])

    def free(self, first: Callable[[], Awaitable[None]] | None = None) -> asyncio.Task[None]:
        """Start to close the engine, or to cancel its opening, and return the task, which first awaits `first`."""
        opening, self._opening = self._opening, None
        engine, self.engine = self.engine, None
        self.left = None
        if opening is not None:
            opening.cancel()
        self._freeing = asyncio.create_task(self._freed(self._freeing, first, opening, engine))
        return self._freeing

    async def _open(
        self, opening: Callable[[], Coroutine[None, None, OpenEngine]], freeing: asyncio.Task[None] | None
    ) -> None:
        if freeing is not None and not freeing.done():
            await asyncio.wait([freeing])  # two engines may not fit in memory together
        try:
            engine = await opening()
        except PLUGIN_ERRORS as error:  # the observers of the engine report the error
            if self._is_wanted():
                self._opening = None
                self._failed(error)
        else:
            if self._is_wanted():
                self.engine = engine
                self._opened(engine)
            else:
                self.left = await _close(engine)

    def _is_wanted(self) -> bool:
        """Whether the current task's opening was not cancelled: a backend may ignore a cancellation."""
        return self._opening is asyncio.current_task()

    async def _freed(
        self,
        earlier: asyncio.Task[None] | None,
        first: Callable[[], Awaitable[None]] | None,
        opening: asyncio.Task[None] | None,
        engine: OpenEngine | None,
    ) -> None:
        if first is not None:
            await first()
        if opening is not None:
            await wait_for_end(opening)
        if earlier is not None and not earlier.done():
            await asyncio.wait([earlier])
        if engine is not None:
            self.left = await _close(engine)


async def _close(engine: OpenEngine) -> Caution | None:
    try:
        return await engine.close()
    except PLUGIN_ERRORS as error:  # the engine is dropped in any case
        report("A backend failed to close an engine.", error)
        return None


async def wait_for_end(task: asyncio.Task[None]) -> None:
    """Wait for a task that was asked to end, and cancel it every few seconds until it ends.

    A cancellation may be lost: `asyncio.wait_for` of Python 3.11 swallows a cancellation that arrives as it ends.
    """
    while not task.done():
        await asyncio.wait([task], timeout=CANCEL_TIMEOUT)
        task.cancel()
