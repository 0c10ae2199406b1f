"""Saves prompts that are written but not sent, while the user writes them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from paragone_workbench.store.errors import StoreError
from paragone_workbench.store.recording.queue import EVERY_S, SaveQueue
from paragone_workbench.store.retry import pauses

if TYPE_CHECKING:
    from paragone_workbench.store.history import History
    from paragone_workbench.store.records import DraftRecord


class DraftSaving:
    """Keeps the drafts of this instance of the program in the history. All methods must be called on the event loop.

    When a prompt is sent, the queue saves the prompt together with the remaining drafts.
    """

    def __init__(self, read: Callable[[], tuple[DraftRecord, ...]], queue: SaveQueue) -> None:
        """`read` returns the present drafts, the newest last."""
        self.read = read
        self._queue = queue
        queue.drafts = self
        self._saved: tuple[DraftRecord, ...] = ()
        self._history: History | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self, history: History) -> DraftRecord | None:
        """Save the drafts in this history from now on. Returns the draft that an earlier instance left in the history, or
        None.

        If the user has written something already, the draft stays in the history for the next start. Raises StoreError.
        """
        self._history = history
        if self.read():
            self.changed()
            return None
        left = await history.call(lambda store: store.take_draft())
        if left is not None:
            self._saved = (left,)
        return left

    def changed(self) -> None:
        """Save the changed drafts soon."""
        if self._history is not None and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._save(self._history))

    async def save_now(self, history: History | None) -> StoreError | None:
        """Save the drafts at once. Returns an error if drafts cannot be saved, for example without a history; else None."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        if history is None:
            return StoreError("The history is not open.") if self.read() else None
        return await self._write(history)

    async def _save(self, history: History) -> None:
        """Save the drafts until the history has the present drafts."""
        waits = pauses()
        while (drafts := self.read()) != self._saved:
            if drafts or self._queue.has_sent:
                await asyncio.sleep(EVERY_S)
            if self._queue.has_sent:
                continue
            problem = await self._write(history)
            if problem is None:
                waits = pauses()
            elif problem.can_pass:
                await asyncio.sleep(next(waits))
            else:
                return

    async def _write(self, history: History) -> StoreError | None:
        drafts = self.read()
        if drafts == self._saved:
            return None
        try:
            await history.call(lambda store: store.keep_drafts(drafts))
        except StoreError as error:
            return error
        self.were_saved(drafts)
        return None

    def were_saved(self, drafts: tuple[DraftRecord, ...]) -> None:
        """Note that the history has these drafts."""
        self._saved = drafts
