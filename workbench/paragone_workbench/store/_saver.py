"""Decides when unsaved changes are saved, and retries after failures."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from paragone_workbench.engines.error_boundary import report
from paragone_workbench.store._unsaved import Unsaved
from paragone_workbench.store.errors import StoreError
from paragone_workbench.store.history import History

__all__ = ["Saver"]

EVERY_S = 0.4
"""Seconds to collect text before a save. Including the save, a kill loses 0.5 s of text at most."""
PAUSE_S = 0.5
"""Seconds from a failed save to its retry; doubled after each failed retry, up to `LONGEST_PAUSE_S`."""
LONGEST_PAUSE_S = 5.0
CLOSE_S = 4.0
"""Seconds after the call of `close` during which retries may start."""
LAST_TRY_S = 1.5
"""Seconds that the last retry may take: SQLite alone waits 1 s for a lock."""


class Saver:
    """Saves the unsaved changes, one batch at a time, until none is left. Call its methods on the event loop.

    If a save fails, its changes stay unsaved. The save is retried unless the error is permanent.
    """

    def __init__(
        self,
        history: History,
        unsaved: Unsaved,
        on_problem: Callable[[StoreError], None],
        on_saved_again: Callable[[], None],
    ) -> None:
        self.problem: StoreError | None = None
        """Why the last save failed; None if it succeeded."""
        self.changes = 0
        """Number of calls of `changed`."""
        self._history = history
        self._unsaved = unsaved
        self._on_problem = on_problem
        self._on_saved_again = on_saved_again
        self._gave_up = False
        self._saving: asyncio.Task[None] | None = None
        self._urgent = asyncio.Event()
        self._waiting: list[asyncio.Future[bool]] = []
        """One future for each caller of `saved` that waits."""
        self._recheck = asyncio.Event()
        """Set when `finished` must check again whether changes are left."""
        self._closing = asyncio.Event()
        self._last_try = 0.0
        """Time on the event loop's clock after which no retry starts; set by `close`."""

    @property
    def is_closing(self) -> bool:
        """Whether `close` was called."""
        return self._closing.is_set()

    def changed(self, *, urgent: bool = False) -> None:
        """Save the changes at once if `urgent`; otherwise after `EVERY_S`, together with later changes."""
        self.changes += 1
        if urgent:
            self._urgent.set()
        self._begin()

    def _begin(self) -> None:
        self._recheck.set()
        if self._gave_up or self.is_closing:
            return
        if (self._saving is None or self._saving.done()) and self._unsaved:
            self._saving = asyncio.create_task(self._save())
            self._saving.add_done_callback(self._ended)

    async def saved(self) -> bool:
        """Wait until the changes so far are saved. Returns False if they cannot be saved at present."""
        if self._saving is None or self.problem is not None:
            return self.problem is None
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._urgent.set()
        return await waiting

    async def finished(self) -> None:
        """Wait until all is saved and no run is in progress, or until the saver was closed or gave up."""
        while (self._unsaved or self._unsaved.runs) and not (self._gave_up or self.is_closing):
            self._recheck.clear()
            await self._recheck.wait()

    async def close(self) -> None:
        """Save the remaining changes, for about 5 s at most. `on_problem` is told what could not be saved."""
        if self.is_closing:
            return
        self._closing.set()
        self._urgent.set()
        self._recheck.set()
        self._last_try = asyncio.get_running_loop().time() + CLOSE_S
        saving = self._saving
        if saving is not None:
            await asyncio.wait([saving], timeout=CLOSE_S + LAST_TRY_S)
            saving.cancel()
        loss = self._unsaved.loss()
        if loss:
            why = self.problem or StoreError("The history did not answer in time.")
            self._report_problem(StoreError(f"{loss} could not be saved. {why.sentence}", hint=why.hint))

    async def _save(self) -> None:
        """Save one batch after the other until no change is left."""
        pause = PAUSE_S
        while self._unsaved and not self._gave_up:
            if self.problem is None:
                await _wait(self._urgent, EVERY_S)
            self._urgent.clear()
            waiting = len(self._waiting)
            is_last = self.is_closing  # the recorder adds nothing after `close`
            if is_last:
                self._unsaved.note_ended()
            batch = self._unsaved.take()
            try:
                ids = await self._history.save(batch)
            except StoreError as error:
                self._unsaved.put_back(batch)
                self._failed(error)
                self._answer(waiting, saved=False)
                if not await self._pause(pause):
                    return
                pause = min(2 * pause, LONGEST_PAUSE_S)
            else:
                self._unsaved.was_saved(batch, ids)
                pause = PAUSE_S
                if self.problem is not None:
                    self.problem = None
                    _call(self._on_saved_again)
                self._answer(waiting, saved=True)
                if is_last:
                    self._unsaved.clear()  # ignore what runs in progress still write
                elif self.is_closing:
                    self._unsaved.note_ended()
                    self._urgent.set()

    async def _pause(self, seconds: float) -> bool:
        """Wait before a retry, only briefly after `close`. Returns False if there must be no retry."""
        if not self._gave_up and not self.is_closing:
            await _wait(self._closing, seconds)
        elif not self._gave_up:
            await asyncio.sleep(PAUSE_S)
        too_late = self.is_closing and asyncio.get_running_loop().time() > self._last_try
        return not self._gave_up and not too_late

    def _failed(self, error: StoreError) -> None:
        is_new = self.problem is None or not error.can_pass
        self.problem = error
        self._gave_up = not error.can_pass
        self._recheck.set()
        if is_new:
            self._report_problem(error)

    def _ended(self, saving: asyncio.Task[None]) -> None:
        """Handle the end of the saving task. Starts another one if there are new changes."""
        if self._saving is saving:
            self._saving = None
        error = None if saving.cancelled() else saving.exception()
        if isinstance(error, Exception):  # a bug; the conversation continues unsaved
            report("A conversation could not be saved.", error)
            self._failed(StoreError(f"The history is no longer saved: {type(error).__name__}: {error}."))
        elif not saving.cancelled():
            self._begin()
        if self._saving is None:
            self._answer(len(self._waiting), saved=self.problem is None)

    def _answer(self, count: int, *, saved: bool) -> None:
        """Return the result of a save to the first `count` waiting callers of `saved`."""
        for future in self._waiting[:count]:
            if not future.done():
                future.set_result(saved)
        del self._waiting[:count]

    def _report_problem(self, error: StoreError) -> None:
        _call(lambda: self._on_problem(error))


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, at most this many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _call(callback: Callable[[], None]) -> None:
    """Call a listener. An exception that it raises is reported and does not end the saving."""
    try:
        callback()
    except Exception as error:  # noqa: BLE001 (it is reported)
        report("A callback of the recorder failed.", error)
