"""Saves what happens in a conversation, as it happens."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable

from paragone import Caution, Channel
from paragone_workbench.conversation.tree import Conversation, Prompt
from paragone_workbench.engines.error_boundary import report
from paragone_workbench.runs.observer import RunObserver
from paragone_workbench.runs.record import RunRecord
from paragone_workbench.store._unsaved import Unsaved
from paragone_workbench.store.errors import ConversationDeleted, StoreError
from paragone_workbench.store.history import History
from paragone_workbench.store.records import LaneRecord

__all__ = ["Recorder"]

EVERY_S = 0.4
"""Seconds that text waits for more: with the time that saving takes, a kill loses half a second at most."""
PAUSE_S = 0.5
"""Seconds from the first failed save to the next try; doubled with each further one, up to `LONGEST_PAUSE_S`."""
LONGEST_PAUSE_S = 5.0
CLOSE_S = 4.0
"""Seconds in which `close` begins a further try."""
LAST_TRY_S = 1.5
"""Seconds that the last of them may take: SQLite waits one for a lock."""


class Recorder(RunObserver):
    """Keeps one conversation in the history. Used on the event loop; none of its methods waits for the disk.

    What has an id is taken for saved: a conversation that was loaded goes on where it was.
    Nothing is lost while the file is locked or the disk is full: what came is saved once it works again.
    """

    def __init__(
        self,
        history: History,
        conversation: Conversation,
        on_problem: Callable[[StoreError], None],
        on_saved_again: Callable[[], None] = lambda: None,
    ) -> None:
        self._history = history
        self._on_problem = on_problem
        self._on_saved_again = on_saved_again
        self._unsaved = Unsaved(conversation)
        self._problem: StoreError | None = None
        self._gave_up = False
        self._saving: asyncio.Task[None] | None = None
        self._urgent = asyncio.Event()
        self._waiting: list[asyncio.Future[bool]] = []
        """Who waits for the next save."""
        self._closing = asyncio.Event()
        self._last_try = 0.0
        """When no further try begins, on the event loop's clock; once it is closing."""
        self._changed()

    @property
    def problem(self) -> StoreError | None:
        """Why the conversation is not being saved at present; None while all is well."""
        return self._problem

    def prompt_added(self, prompt: Prompt) -> None:
        """Save a new prompt; the first begins the conversation in the history."""
        if self._is_recording:
            self._unsaved.add_prompt(prompt)
            self._changed(urgent=True)

    def lane_added(self, lane: LaneRecord) -> None:
        """Save a lane, once the conversation has a prompt."""
        if lane.id is None:
            self.lane_changed(lane)

    def lane_changed(self, lane: LaneRecord) -> None:
        """Save that a lane has another engine, another head, or was closed."""
        if self._is_recording:
            self._unsaved.add_lane(lane)
            self._changed()

    def follow(self, run: RunRecord, lane: LaneRecord) -> None:
        """Save a run of a lane, from its start to its end; one that answers no prompt is not saved."""
        if run.id is not None or run.prompt is None or not self._is_recording:
            return
        self._unsaved.follow(run, lane)
        run.subscribe(self)
        if run.phase == "ended":
            self.run_ended(run)
        elif run.phase != "waiting":
            self.run_started(run)

    async def saved(self) -> bool:
        """Wait until all that came so far is saved; False where it cannot be saved at present."""
        if self._saving is None or self._problem is not None:
            return self._problem is None
        waiting: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiting)
        self._urgent.set()
        return await waiting

    async def close(self) -> None:
        """Save what is left, for about five seconds at most. What could not be saved is told to `on_problem`.

        Runs that go on are saved as far as they came.
        """
        if self._closing.is_set():
            return
        self._closing.set()
        self._urgent.set()
        self._last_try = asyncio.get_running_loop().time() + CLOSE_S
        for run in self._unsaved.runs:
            run.unsubscribe(self)
        saving = self._saving
        if saving is not None:
            await asyncio.wait([saving], timeout=CLOSE_S + LAST_TRY_S)
            saving.cancel()
        loss = self._unsaved.loss()
        if loss:
            why = self._problem or StoreError("The history did not answer in time.")
            lost = StoreError(f"{loss} could not be saved. {why.sentence}", hint=why.hint)
            _call(lambda: self._on_problem(lost))

    # ── What its runs tell ───────────────────────────────────────────────────────────────────

    def run_started(self, run: RunRecord) -> None:
        """Begin to save the run."""
        self._unsaved.run_changed(run)
        self._changed()

    def run_changed(self, run: RunRecord) -> None:
        """Save the settings in force, once they are known."""
        if self._unsaved.has_new_settings(run):
            self._unsaved.run_changed(run)
            self._changed()

    def text_came(self, run: RunRecord, channel: Channel, text: str) -> None:
        """Save the text within half a second."""
        self._changed()

    def cautioned(self, run: RunRecord, caution: Caution) -> None:
        """Save the caution."""
        if self._unsaved.is_started(run):
            self._unsaved.run_changed(run)
            self._changed()

    def run_ended(self, run: RunRecord) -> None:
        """Save how it ended. One that failed before it began is saved with why; one that was stopped is not."""
        run.unsubscribe(self)
        if run.state == "failed" or run.manifest or self._unsaved.is_started(run):
            self._unsaved.run_changed(run)
        else:
            self._unsaved.forget(run)
        self._changed(urgent=True)

    # ── Saving ───────────────────────────────────────────────────────────────────────────────

    @property
    def _is_recording(self) -> bool:
        """Whether it takes anything more."""
        return not self._closing.is_set() and not isinstance(self._problem, ConversationDeleted)

    def _changed(self, *, urgent: bool = False) -> None:
        """See to it that what changed is saved."""
        if self._gave_up or self._closing.is_set():
            return
        if urgent:
            self._urgent.set()
        if self._saving is None and self._unsaved:
            self._saving = asyncio.create_task(self._save())
            self._saving.add_done_callback(self._ended)

    async def _save(self) -> None:
        """Save until nothing is left, one batch after the other."""
        pause = PAUSE_S
        while self._unsaved and not self._gave_up:
            if self._problem is None:
                await _first(self._urgent, EVERY_S)
            self._urgent.clear()
            waiting, self._waiting = self._waiting, []
            batch = self._unsaved.take()
            try:
                ids = await self._history.save(batch)
            except StoreError as error:
                self._unsaved.put_back(batch)
                self._failed(error)
                _answer(waiting, saved=False)
                if self._closing.is_set() and asyncio.get_running_loop().time() + PAUSE_S > self._last_try:
                    return
                await self._pause(pause)
                pause = min(2 * pause, LONGEST_PAUSE_S)
            else:
                self._unsaved.was_saved(batch, ids)
                pause = PAUSE_S
                if self._problem is not None:
                    self._problem = None
                    _call(self._on_saved_again)
                _answer(waiting, saved=True)
                if self._closing.is_set():
                    self._unsaved.forget_running()
                    self._urgent.set()

    async def _pause(self, seconds: float) -> None:
        """Wait before the next try; for a short time where the recorder is to close."""
        if self._gave_up:
            return
        if not self._closing.is_set():
            await _first(self._closing, seconds)
        else:
            await asyncio.sleep(PAUSE_S)

    def _failed(self, error: StoreError) -> None:
        is_new = self._problem is None
        self._problem = error
        if isinstance(error, ConversationDeleted):
            for run in self._unsaved.runs:
                run.unsubscribe(self)
            self._unsaved.clear()
        self._gave_up = not error.can_pass
        if is_new:
            _call(lambda: self._on_problem(error))

    def _ended(self, saving: asyncio.Task[None]) -> None:
        """Note that nothing is being saved any longer: there is nothing left, or it was given up."""
        self._saving = None
        error = None if saving.cancelled() else saving.exception()
        if isinstance(error, Exception):  # a mistake of ours; the conversation goes on without
            report("The recorder failed.", error)
            self._failed(StoreError(f"The history is no longer saved: {type(error).__name__}: {error}."))
        elif not self._gave_up and not saving.cancelled():
            self._changed()
        if self._saving is None:
            _answer(self._waiting, saved=self._problem is None)


async def _first(event: asyncio.Event, seconds: float) -> None:
    """Wait for an event, but only for so long."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _answer(waiting: list[asyncio.Future[bool]], *, saved: bool) -> None:
    """Tell those who wait whether what they wait for is saved."""
    for future in waiting:
        if not future.done():
            future.set_result(saved)


def _call(callback: Callable[[], None]) -> None:
    """Call a listener; its mistake does not end the saving."""
    try:
        callback()
    except Exception as error:  # noqa: BLE001 (it is reported)
        report("A listener of the recorder failed.", error)
