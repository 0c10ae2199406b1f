"""The store in a thread of its own, and the recorder, which saves the conversations of a session and drafts of
prompts there. It repeats saves that failed."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from paragone.texts import counted
from paragone_workbench.engines.failures import report
from paragone_workbench.store.errors import ConversationDeleted, HistoryMoved, StoreError
from paragone_workbench.store.outbox import Outbox
from paragone_workbench.store.records import NO_DRAFT

if TYPE_CHECKING:
    from paragone import ParagoneError
    from paragone_workbench.conversation.tree import Conversation, Prompt
    from paragone_workbench.runs.run import Run
    from paragone_workbench.store.records import DraftRecord, LaneRecord, QueuedPrompt, SavedConversation
    from paragone_workbench.store.store import Store


T = TypeVar("T")
Jobs: TypeAlias = "SimpleQueue[Callable[[Store], None] | None]"

THREAD_CLOSE_S = 3.0
"""Seconds that closing a history waits for its thread; longer than a save of the recorder waits for a lock."""


class History:
    """The store in a thread of its own, which executes calls in order. Every call except `close` may raise StoreError."""

    def __init__(self, jobs: Jobs, closed: Future[None], warning: str) -> None:
        self.warning = warning
        """A message for the user if the file can only be read; otherwise empty."""
        self._jobs = jobs
        self._closed = closed
        self._is_closing = False

    @classmethod
    async def open(cls, path: Path | None = None) -> History:
        """Open or create the history file, by default the user's. Raises InputError if a newer version wrote it, and
        ParagoneError."""
        jobs: Jobs = SimpleQueue()
        opened: Future[str] = Future()
        closed: Future[None] = Future()
        # A daemon thread, so that a disk that hangs cannot prevent the program from exiting.
        Thread(target=_serve, args=(path, jobs, opened, closed), name="history", daemon=True).start()
        try:
            warning = await asyncio.wrap_future(opened)
        except BaseException:
            jobs.put(None)  # the thread may still open the store: tell the thread to close the store
            raise
        return cls(jobs, closed, warning)

    async def load(self, number: int) -> SavedConversation:
        """Return a conversation with all its lanes and runs. Raises InputError if the conversation does not exist."""
        return await self.call(lambda store: store.load(number))

    async def close(self) -> None:
        """Close the file within `THREAD_CLOSE_S`; runs in progress become interrupted. May be called twice; never
        raises StoreError."""
        if not self._is_closing:
            self._is_closing = True
            self._jobs.put(None)
        await asyncio.wait([asyncio.wrap_future(self._closed)], timeout=THREAD_CLOSE_S)

    def call(self, call: Callable[[Store], T], *, busy_s: float | None = None) -> Awaitable[T]:
        """Execute a call in the thread. While another program keeps the file locked, it waits for `busy_s` seconds,
        by default `BUSY_S` of the database."""
        if self._is_closing:
            raise StoreError("The history is closed.")
        result: Future[T] = Future()

        def job(store: Store) -> None:
            if not result.set_running_or_notify_cancel():  # the caller has cancelled the call
                return
            try:
                store.wait_for_locks(busy_s)
                result.set_result(call(store))
            except BaseException as error:  # noqa: BLE001 (the error is raised in the caller, on the event loop)
                result.set_exception(error)

        self._jobs.put(job)
        return asyncio.wrap_future(result)


def _serve(path: Path | None, jobs: Jobs, opened: Future[str], closed: Future[None]) -> None:
    """Open the store and execute jobs until a None arrives. This is the main function of the thread."""
    from paragone_workbench.store.store import Store  # imported here so that the program starts faster

    try:
        store = Store.open(path)
    except BaseException as error:  # noqa: BLE001 (the error is raised in the caller, on the event loop)
        if opened.set_running_or_notify_cancel():
            opened.set_exception(error)
        return
    if opened.set_running_or_notify_cancel():
        opened.set_result(store.warning)
    for job in iter(jobs.get, None):
        job(store)
        del job  # so that a large result does not stay in memory during the wait for the next job
    store.close()
    if closed.set_running_or_notify_cancel():
        closed.set_result(None)


RETRY_S = 1.0
"""Seconds from a failed attempt to the next one."""
BUSY_S = 1.0
"""Seconds that a save waits for a lock; short, so that the user is told, and other calls are executed in between."""
EVERY_S = 0.4
"""Seconds to collect text before a save. A kill loses at most 0.5 s of text, including the time of the save."""
CLOSE_S = 4.0
"""Seconds after the call of `close` during which another attempt may start."""
LAST_TRY_S = 1.5
"""Seconds that the last attempt may take: SQLite alone waits 1 s for a lock."""


class Recorder:
    """Saves the conversations of a session, without blocking the event loop. Changes stay in memory until the history
    is open, and while it is locked or the disk is full."""

    def __init__(
        self,
        *,
        on_problem: Callable[[StoreError], None] = lambda _: None,
        on_saved_again: Callable[[], None] = lambda: None,
        on_changed: Callable[[], None] = lambda: None,
    ) -> None:
        """`on_problem` gets each problem once. `on_saved_again` is called when all problems are over, `on_changed`
        when `problem` may have changed."""
        self.history: History | None = None
        self.read_draft: Callable[[], DraftRecord] = lambda: NO_DRAFT
        """Returns the draft of a prompt, which is saved together with each prompt that is sent."""
        self.saved_draft = NO_DRAFT
        self._took_draft = self._draft_changed = False
        self._changes: Counter[int | None] = Counter()
        """The number of changes of each conversation, by the conversation's number."""
        self._deleted: list[int] = []
        """The numbers of the conversations that this instance has deleted, oldest deletion first."""
        self._on_problem = on_problem
        self._on_saved_again = on_saved_again
        self._on_changed = on_changed
        self._not_open: ParagoneError | None = None
        """Why the history could not be opened; None if the history is open or still being opened."""
        self._outboxes: dict[str, Outbox] = {}
        """The conversations of the session by id. The first is saved next."""
        self._saving: asyncio.Task[None] | None = None
        self._urgent = asyncio.Event()
        self._closing = asyncio.Event()
        self._last_try = 0.0
        """Time on the event loop's clock after which no further attempt starts; set by `close`."""

    def open(self, history: History) -> None:
        self.history, self._not_open = history, None
        self._begin()
        self._on_changed()

    def not_open(self, error: ParagoneError) -> None:
        """Record why the history could not be opened. Conversations stay in memory, to be saved elsewhere at the end."""
        self._not_open = error
        self._on_changed()

    @property
    def problem(self) -> ParagoneError | None:
        """Why changes cannot be saved now, or None. Lost changes of conversations that the session has left do not count."""
        found = (it.problem for it in self._outboxes.values() if not (it.is_left and it.is_given_up))
        return next(filter(None, found), self._not_open)

    def losses(self) -> list[SavedConversation]:
        """Return the conversations with unsaved changes, oldest first, including the saved parts."""
        lost = [outbox for outbox in self._outboxes.values() if outbox.loss() and outbox.conversation.prompts]
        return [outbox.whole() for outbox in sorted(lost, key=lambda outbox: outbox.conversation.created)]

    @property
    def has_sent(self) -> bool:
        return any(outbox.has_sent for outbox in self._outboxes.values())

    @property
    def waits_for_history(self) -> bool:
        return self.history is None and any(outbox.prompts for outbox in self._outboxes.values())

    def _of(self, conversation: Conversation) -> Outbox | None:
        """Return the outbox of a conversation; None if the conversation is no longer recorded."""
        if self._closing.is_set():
            return None
        outbox = self._outboxes.setdefault(conversation.id, Outbox(conversation))
        outbox.is_left = False
        return None if isinstance(outbox.problem, ConversationDeleted) else outbox

    def left(self, conversation: Conversation) -> None:
        """Record that the session has left a conversation. Only runs in progress can still change it."""
        if (outbox := self._outboxes.get(conversation.id)) is not None:
            outbox.is_left = True
            self._drop_if_done(outbox)

    def _put(self, outbox: Outbox, *, urgent: bool = False) -> None:
        """Save an outbox immediately if `urgent`; otherwise after `EVERY_S`, together with later changes."""
        self._changes[outbox.conversation.number] += 1
        if urgent:
            self._urgent.set()
        self._begin()

    async def saved(self, conversation: Conversation) -> StoreError | None:
        """Wait until a conversation's current changes are saved. Returns an error if saving fails now, else None."""
        if self.history is None:
            why = "The history is not open yet." if self._not_open is None else self._not_open.message
            return StoreError(why, can_pass=True)
        outbox = self._outboxes.get(conversation.id)
        if outbox is None or outbox.problem is not None or not outbox.is_due:
            return None if outbox is None else outbox.problem
        waiting: asyncio.Future[StoreError | None] = asyncio.get_running_loop().create_future()
        outbox.waiting.append(waiting)
        self._urgent.set()
        self._begin()
        return await waiting

    async def close(self, *, waits: bool = True) -> None:
        """Save the rest for at most about 5 s (only if `waits`), including the text so far of runs in progress.
        `on_problem` gets each loss."""
        if self._closing.is_set():
            return
        if waits and self.history is not None and self._outboxes:
            with contextlib.suppress(StoreError, TimeoutError):
                try:
                    await asyncio.wait_for(self.history.call(lambda store: store.check_place()), LAST_TRY_S)
                except HistoryMoved as error:
                    await self._begin_anew(self.history)
                    _call(partial(self._on_problem, error))
        for outbox in self._outboxes.values():
            for run in outbox.runs:
                if outbox.has(run):
                    outbox.put_run(run)
        self._begin()
        self._closing.set()
        self._urgent.set()
        self._last_try = asyncio.get_running_loop().time() + CLOSE_S
        try:
            if self._saving is not None and waits:
                await asyncio.wait([self._saving], timeout=CLOSE_S + LAST_TRY_S)
        finally:
            for outbox in self._outboxes.values():
                if outbox.is_due and outbox.problem is None:
                    outbox.problem = StoreError("The history did not answer in time.")
                outbox.wake(outbox.waiting)
            if self._saving is not None:
                self._saving.cancel()
            self._report_losses()

    def _report_losses(self) -> None:
        if self.history is None:
            count = sum(outbox.prompts for outbox in self._outboxes.values())
            if self._not_open is not None and count:
                prompts = counted(count, "prompt and its", "prompts and their")
                message = f"{prompts} answers could not be saved. {self._not_open.message}"
                _call(partial(self._on_problem, StoreError(message, hint=self._not_open.hint)))
            return
        for outbox in self._outboxes.values():
            if (loss := outbox.loss()) and (why := outbox.problem) is not None:
                lost = StoreError(f"{loss} could not be saved. {why.message}", hint=why.hint)
                _call(partial(self._on_problem, lost))

    def _begin(self) -> None:
        is_saving = self._saving is not None and not self._saving.done()
        is_due = self._due() or self._draft_is_due
        if self.history is not None and not is_saving and not self._closing.is_set() and is_due:
            self._saving = asyncio.create_task(self._save(self.history))

    def _due(self) -> list[Outbox]:
        return [outbox for outbox in self._outboxes.values() if outbox.is_due and not outbox.is_given_up]

    async def _save(self, history: History) -> None:
        while (due := self._due()) or self._draft_is_due:
            if not self._closing.is_set() and all(outbox.problem is None for outbox in due):
                await _wait(self._urgent, EVERY_S)
            self._urgent.clear()
            has_failed = False
            for outbox in self._due():
                await self._save_one(history, outbox)
                if has_failed := outbox.problem is not None and not outbox.is_given_up:
                    break
            if self._draft_is_due and not (has_failed or self.has_sent):
                problem = await self._save_draft(history)
                self._draft_changed = problem is None or problem.can_pass
                has_failed = problem is not None and problem.can_pass
            if has_failed and not await self._pause():
                return

    async def _save_one(self, history: History, outbox: Outbox) -> None:
        """Write everything in an outbox in one transaction, and delete the committed writes from it."""
        waiting, outbox.waiting, is_last = outbox.waiting, [], self._closing.is_set()
        # One transaction, because a kill between two would lose a sent prompt, or restore it as a draft.
        draft = self.read_draft() if outbox.has_sent else None
        try:
            writes, lengths = outbox.take()
            numbers = await history.call(lambda store: store.save(writes, draft), busy_s=BUSY_S)
        except HistoryMoved as error:
            await self._begin_anew(history)
            self._failed(outbox, error)
        except StoreError as error:
            self._failed(outbox, error)
        except Exception as error:  # noqa: BLE001 (a bug is reported, and the conversation continues unsaved)
            report("A conversation could not be saved.", error)
            message = f"The history is no longer saved: {type(error).__name__}: {error}."
            self._failed(outbox, StoreError(message))
        else:
            outbox.committed(writes, lengths, numbers)
            if draft is not None:
                self.saved_draft = draft
            if is_last:
                outbox.clear()  # ignore further text of runs in progress
            if outbox.problem is not None:
                outbox.problem = None
                if self.problem is None:
                    _call(self._on_saved_again)
                _call(self._on_changed)
            self._drop_if_done(outbox)
        finally:
            outbox.wake(waiting)
            if outbox.problem is not None or not outbox.is_due:
                outbox.wake(outbox.waiting)

    async def _begin_anew(self, history: History) -> None:
        """Write all open conversations completely to the file that is now at the history's path, or to a new file."""
        for outbox in self._outboxes.values():
            outbox.begin_anew()
        with contextlib.suppress(StoreError):  # later attempts try this again
            await history.call(lambda store: store.begin_anew())

    async def _pause(self) -> bool:
        """Wait before another attempt. Returns False if `close` was called, and no time is left for the attempt."""
        if self._closing.is_set():
            await asyncio.sleep(RETRY_S)
        else:
            await _wait(self._closing, RETRY_S)
        return not (self._closing.is_set() and asyncio.get_running_loop().time() > self._last_try)

    def _failed(self, outbox: Outbox, error: StoreError) -> None:
        """Record why changes cannot be saved. A temporary problem is reported once, even if it affects several
        conversations."""
        is_known = error.can_pass and any(other.problem is not None for other in self._outboxes.values())
        outbox.problem = error
        # so that the other conversations are saved first
        self._outboxes[outbox.conversation.id] = self._outboxes.pop(outbox.conversation.id)
        if isinstance(error, ConversationDeleted):
            outbox.clear()
        if not is_known:
            _call(partial(self._on_problem, error))
        self._drop_if_done(outbox)
        _call(self._on_changed)

    def _drop_if_done(self, outbox: Outbox) -> None:
        if outbox.is_left and not (outbox.runs or outbox.is_due):
            self._outboxes.pop(outbox.conversation.id, None)
            if outbox.problem is not None:
                _call(self._on_changed)

    # The draft

    @property
    def _draft_is_due(self) -> bool:
        is_kept = self._draft_changed and not self._closing.is_set()
        return is_kept and self.read_draft() != self.saved_draft

    async def take_draft(self) -> DraftRecord | None:
        """Keep this instance's draft in the history from now on. Returns the draft that an ended instance left, or
        None. Raises StoreError."""
        assert self.history is not None
        try:
            left = await self.history.call(lambda store: store.take_draft())
        finally:
            self._took_draft = True
        if left is not None:
            self.saved_draft = left
        else:
            self.draft_changed()
        return left

    def draft_changed(self) -> None:
        """Save the draft, once `take_draft` has read the draft of an ended instance."""
        if self._took_draft:
            self._draft_changed = True
            self._begin()

    async def save_draft_now(self) -> StoreError | None:
        """Save the draft immediately. Returns an error if it cannot be saved, for example without a history; else None."""
        has_draft = bool(self.read_draft().text)
        if self.history is None:
            return StoreError("The history is not open.") if has_draft else None
        # even a saved draft: another instance may have replaced it
        return await self._save_draft(self.history) if has_draft or self.saved_draft.text else None

    async def _save_draft(self, history: History) -> StoreError | None:
        draft = self.read_draft()
        try:
            await history.call(lambda store: store.keep_draft(draft), busy_s=BUSY_S)
        except StoreError as error:
            if isinstance(error, HistoryMoved):
                await self._begin_anew(history)
            return error
        self.saved_draft = draft
        return None

    # Changes

    def prompt_added(self, conversation: Conversation, prompt: Prompt) -> None:
        """Save a new prompt. The first prompt also creates the conversation in the history."""
        if (outbox := self._of(conversation)) is not None:
            outbox.put_prompt(prompt)
            self._put(outbox, urgent=True)

    def queue_changed(self, conversation: Conversation, queue: tuple[QueuedPrompt, ...]) -> None:
        if (outbox := self._of(conversation)) is not None:
            outbox.put_queue(queue)
            self._put(outbox, urgent=True)

    def lane_changed(self, conversation: Conversation, lane: LaneRecord) -> None:
        """Save a lane that is new, was closed, or has another engine or head, once the conversation has a prompt."""
        if (outbox := self._of(conversation)) is not None:
            outbox.put_lane(lane)
            self._put(outbox)

    def follow(self, conversation: Conversation, run: Run, lane: LaneRecord) -> None:
        """Save a run of a lane from start to end, and the lane. A run without a prompt is not saved."""
        outbox = self._of(conversation)
        if outbox is None or run.prompt is None:
            return
        outbox.runs[run] = lane
        self.lane_changed(conversation, lane)
        run.watchers.append(self._run_changed)
        self._run_changed(run)

    def loaded(self, saved: SavedConversation) -> None:
        """Prepare to continue a conversation from the history, and save the time at which the conversation was opened."""
        if (outbox := self._of(saved.conversation)) is not None:
            outbox.opened_again(saved.lanes, saved.queue)
            self._put(outbox)

    # Reading conversations whose changes may wait in the queue

    async def load(self, number: int) -> SavedConversation | None:
        """Return a conversation once its changes are saved; None if it changed meanwhile: then call again. Raises
        InputError and StoreError."""
        assert self.history is not None  # without a history, no conversation can be loaded
        changes = self._changes[number]
        await self._all_saved(number, "reopened", "Reopen")
        saved = await self.history.load(number)
        return saved if self._changes[number] == changes else None

    async def delete(self, number: int) -> None:
        """Delete a conversation once its changes are saved. Raises StoreError."""
        assert self.history is not None  # without a history, no conversation can be deleted
        await self._all_saved(number, "deleted", "Delete")
        await self.history.call(lambda store: store.delete_conversation(number))
        self._deleted.append(number)

    async def restore(self) -> int | None:
        """Restore the conversation that this instance deleted last, and return its number; None without such a
        conversation. Raises StoreError, and InputError if another program has removed it."""
        if self.history is None or not self._deleted:
            return None
        number = self._deleted.pop()
        await self.history.call(lambda store: store.restore_conversation(number))
        return number

    async def _all_saved(self, number: int, done: str, do: str) -> None:
        for outbox in [it for it in self._outboxes.values() if it.conversation.number == number]:
            problem = await self.saved(outbox.conversation)
            if problem is not None and not isinstance(problem, ConversationDeleted):
                raise StoreError(
                    f"This conversation cannot be {done}: its last changes are not saved yet. {problem.message}",
                    hint=f"{do} the conversation once the history works again.",
                    can_pass=True,
                )

    def _run_changed(self, run: Run) -> None:
        """Save a run that has begun, its changes and its result. Of the runs that never began, only failed ones are saved."""
        outbox = next((outbox for outbox in self._outboxes.values() if run in outbox.runs), None)
        if run.phase == "waiting" or outbox is None or self._closing.is_set():
            return
        is_over = run.phase == "ended"
        if is_over and run.state != "failed" and not run.result.manifest and not outbox.has(run):
            outbox.drop_run(run)
        elif is_over or outbox.has_changed(run):
            outbox.put_run(run)
        self._put(outbox, urgent=is_over)


async def _wait(event: asyncio.Event, seconds: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


def _call(callback: Callable[[], None]) -> None:
    try:
        callback()
    except Exception as error:  # noqa: BLE001 (the error is reported)
        report("A callback of the recorder failed.", error)
