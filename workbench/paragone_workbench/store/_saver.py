"""Decides when unsaved changes are saved, and tries again where saving fails."""

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
"""Seconds that text waits for more: with the time that saving takes, a kill loses half a second at most."""
PAUSE_S = 0.5
"""Seconds from the first failed save to the next try; doubled with each further one, up to `LONGEST_PAUSE_S`."""
LONGEST_PAUSE_S = 5.0
CLOSE_S = 4.0
"""Seconds in which `close` begins a further try."""
LAST_TRY_S = 1.5
"""Seconds that the last of them may take: SQLite waits one for a lock."""


class Saver:
    """Saves what is unsaved, one batch at a time, until nothing is left. Used on the event loop.

    What could not be saved stays unsaved, and is tried again for as long as that may help.
    """

    def __init__(
        self,
        history: History,
        unsaved: Unsaved,
        on_problem: Callable[[StoreError], None],
        on_saved_again: Callable[[], None],
    ) -> None:
        self.problem: StoreError | None = None
        """Why the last try failed; None where it did not."""
        self.changes = 0
        """How many changes it was told of."""
        self._history = history
        self._unsaved = unsaved
        self._on_problem = on_problem
        self._on_saved_again = on_saved_again
        self._gave_up = False
        self._saving: asyncio.Task[None] | None = None
        self._urgent = asyncio.Event()
        self._waiting: list[asyncio.Future[bool]] = []
        """Callers of `saved`."""
        self._moved = asyncio.Event()
        """Set whenever `finished` is to look again whether anything is left."""
        self._closing = asyncio.Event()
        self._last_try = 0.0
        """The moment after which no further try begins, on the event loop's clock; set by `close`."""

    @property
    def is_closing(self) -> bool:
        """Whether `close` was called."""
        return self._closing.is_set()

    def changed(self, *, urgent: bool = False) -> None:
        """Save what is unsaved: at once, or together with what comes in the next moments."""
        self.changes += 1
        if urgent:
            self._urgent.set()
        self._begin()

    def _begin(self) -> None:
        self._moved.set()
        if self._gave_up or self.is_closing:
            return
        if (self._saving is None or self._saving.done()) and self._unsaved:
            self._saving = asyncio.create_task(self._save())
            self._saving.add_done_callback(self._ended)

    async def saved(self) -> bool:
        """Wait until all that is unsaved now is saved; False where it cannot be saved at present."""
        if self._saving is None or self.problem is not None:
            return self.problem is None
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._urgent.set()
        return await waiting

    async def finished(self) -> None:
        """Wait until nothing is left and no run goes on, or until it is closed or gave up."""
        while (self._unsaved or self._unsaved.runs) and not (self._gave_up or self.is_closing):
            self._moved.clear()
            await self._moved.wait()

    async def close(self) -> None:
        """Save what is left, for about five seconds at most, and tell what could not be saved."""
        if self.is_closing:
            return
        self._closing.set()
        self._urgent.set()
        self._moved.set()
        self._last_try = asyncio.get_running_loop().time() + CLOSE_S
        saving = self._saving
        if saving is not None:
            await asyncio.wait([saving], timeout=CLOSE_S + LAST_TRY_S)
            saving.cancel()
        loss = self._unsaved.loss()
        if loss:
            why = self.problem or StoreError("The history did not answer in time.")
            self._tell_problem(StoreError(f"{loss} could not be saved. {why.sentence}", hint=why.hint))

    async def _save(self) -> None:
        """Save until nothing is left, one batch after the other."""
        pause = PAUSE_S
        while self._unsaved and not self._gave_up:
            if self.problem is None:
                await _wait(self._urgent, EVERY_S)
            self._urgent.clear()
            waiting = len(self._waiting)
            is_last = self.is_closing  # nobody adds anything any more
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
                    self._unsaved.clear()  # what will yet come of runs that go on
                elif self.is_closing:
                    self._unsaved.note_ended()
                    self._urgent.set()

    async def _pause(self, seconds: float) -> bool:
        """Wait before the next try, not for long where it is closing; False where there is to be none."""
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
        self._moved.set()
        if is_new:
            self._tell_problem(error)

    def _ended(self, saving: asyncio.Task[None]) -> None:
        """Note that nothing is being saved any longer: there is nothing left, or it was given up."""
        if self._saving is saving:
            self._saving = None
        error = None if saving.cancelled() else saving.exception()
        if isinstance(error, Exception):  # a mistake of ours; the conversation goes on without
            report("A conversation could not be saved.", error)
            self._failed(StoreError(f"The history is no longer saved: {type(error).__name__}: {error}."))
        elif not saving.cancelled():
            self._begin()
        if self._saving is None:
            self._answer(len(self._waiting), saved=self.problem is None)

    def _answer(self, count: int, *, saved: bool) -> None:
        """Tell the first of those who wait for a save what became of it."""
        for future in self._waiting[:count]:
            if not future.done():
                future.set_result(saved)
        del self._waiting[:count]

    def _tell_problem(self, error: StoreError) -> None:
        _call(lambda: self._on_problem(error))


async def _wait(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, but only for so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _call(callback: Callable[[], None]) -> None:
    """Call a listener; its mistake does not end the saving."""
    try:
        callback()
    except Exception as error:  # noqa: BLE001 (it is reported)
        report("A listener of the recorder failed.", error)
