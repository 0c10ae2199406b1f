"""Saves the prompt that is written but not sent, while the user writes it."""

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
    """Keeps the draft of this instance of the program in the history. All methods must be called on the event loop.

    When a prompt is sent, the queue saves the prompt together with the remaining draft.
    """

    def __init__(self, read: Callable[[], DraftRecord], queue: SaveQueue) -> None:
        """`read` returns the present draft."""
        self._read = read
        self._queue = queue
        queue.read_draft = read
        self._history: History | None = None
        self._task: asyncio.Task[None] | None = None

    async def open(self, history: History) -> DraftRecord | None:
        """Save the draft in this history from now on. Returns the draft that an earlier instance left in the history, or
        None. Raises StoreError.
        """
        try:
            left = await history.call(lambda store: store.take_draft())
        finally:
            self._history = history
        if left is not None:
            self._queue.saved_draft = left
        elif self._read().text:
            self.changed()
        return left

    def changed(self) -> None:
        if self._history is not None and (self._task is None or self._task.done()):
            self._task = asyncio.create_task(self._save(self._history))

    async def save_now(self, history: History | None) -> StoreError | None:
        """Save the draft immediately. Returns an error if it cannot be saved, for example without a history; else None."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        has_draft = bool(self._read().text)
        if history is None:
            return StoreError("The history is not open.") if has_draft else None
        # also a saved draft, since another instance may have replaced it
        return await self._write(history) if has_draft or self._queue.saved_draft.text else None

    async def _save(self, history: History) -> None:
        waits = pauses()
        while (draft := self._read()) != self._queue.saved_draft:
            if draft.text or self._queue.has_sent:
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
        draft = self._read()
        try:
            await history.call(lambda store: store.keep_draft(draft))
        except StoreError as error:
            return error
        self._queue.saved_draft = draft
        return None
