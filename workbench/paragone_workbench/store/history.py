"""The history as the event loop sees it: the store, in a thread of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from paragone_workbench.store.batch import Batch, Record
from paragone_workbench.store.errors import StoreError
from paragone_workbench.store.records import Hit, SavedConversation, Summary

if TYPE_CHECKING:  # neither is needed to show a screen
    from concurrent.futures import Future
    from queue import SimpleQueue

    from paragone_workbench.store.store import Store

__all__ = ["History"]

T = TypeVar("T")

CLOSE_S = 3.0
"""Seconds that `close` waits for the thread: longer than SQLite waits for a lock."""


class _Job(Generic[T]):
    """A call of the store, and where its result goes."""

    def __init__(self, call: Callable[[Store], T], result: Future[T]) -> None:
        self._call = call
        self._result = result

    def run(self, store: Store) -> None:
        """Make the call, unless its caller no longer waits for it."""
        if not self._result.set_running_or_notify_cancel():
            return
        try:
            self._result.set_result(self._call(store))
        except BaseException as error:  # noqa: BLE001 (it belongs to the caller, who waits on the event loop)
            self._result.set_exception(error)


class History:
    """The store, opened, used and closed in one thread: its waits never block the event loop.

    Calls are served in their order. Any may raise StoreError.
    """

    def __init__(self, jobs: SimpleQueue[_Job[Any] | None], closed: Future[None], warning: str) -> None:
        self.warning = warning
        """What the user should hear of the file as it was found; empty when all was well."""
        self._jobs = jobs
        self._closed = closed
        self._is_closing = False

    @classmethod
    async def open(cls, path: Path | None = None) -> History:
        """Open the history, or begin it; `path` is for another file than the user's own.

        Raises InputError where a newer version of the program wrote the file, and ParagoneError where
        it cannot be used, also where another copy of the program does not finish opening it.
        """
        import asyncio
        from concurrent.futures import Future
        from queue import SimpleQueue
        from threading import Thread

        jobs: SimpleQueue[_Job[Any] | None] = SimpleQueue()
        opened: Future[str] = Future()
        closed: Future[None] = Future()
        # a daemon: a disk that hangs must not keep the program from ending
        Thread(target=_serve, args=(path, jobs, opened, closed), name="history", daemon=True).start()
        try:
            warning = await asyncio.wrap_future(opened)
        except BaseException:
            jobs.put(None)  # it may be cancelled here, and opened all the same
            raise
        return cls(jobs, closed, warning)

    async def conversations(self, limit: int = 50, before: Summary | None = None) -> tuple[Summary, ...]:
        """Return conversations that have a prompt, the most recently used first; `before` continues a list."""
        return await self._call(lambda store: store.conversations(limit, before))

    async def search(self, text: str, limit: int = 50) -> tuple[Hit, ...]:
        """Return the prompts and finished answers in which all words of `text` stand, newest first."""
        return await self._call(lambda store: store.search(text, limit))

    async def load(self, conversation_id: int) -> SavedConversation:
        """Return a conversation, whole. Raises InputError where there is none."""
        return await self._call(lambda store: store.load(conversation_id))

    async def save(self, batch: Batch) -> dict[Record, int]:
        """Write a batch, all of it or nothing, and return the ids of the records that are new.

        Raises ConversationDeleted where another copy of the program deleted the conversation.
        """
        return await self._call(lambda store: store.save(batch))

    async def close(self) -> None:
        """Close the file; runs that have not ended are marked as interrupted.

        Never fails, takes a few seconds at most, and may be called twice.
        """
        import asyncio

        if not self._is_closing:
            self._is_closing = True
            self._jobs.put(None)
        await asyncio.wait([asyncio.wrap_future(self._closed)], timeout=CLOSE_S)

    def _call(self, call: Callable[[Store], T]) -> Awaitable[T]:
        import asyncio
        from concurrent.futures import Future

        if self._is_closing:
            raise StoreError("The history is closed.")
        result: Future[T] = Future()
        self._jobs.put(_Job(call, result))
        return asyncio.wrap_future(result)


def _serve(
    path: Path | None, jobs: SimpleQueue[_Job[Any] | None], opened: Future[str], closed: Future[None]
) -> None:
    """Open the store and run the jobs, up to the one that is None. The thread's own function."""
    from paragone_workbench.store.store import Store

    try:
        store = Store.open(path)
    except BaseException as error:  # noqa: BLE001 (it belongs to the caller, who waits on the event loop)
        if opened.set_running_or_notify_cancel():
            opened.set_exception(error)
        return
    if opened.set_running_or_notify_cancel():
        opened.set_result(store.warning)
    for job in iter(jobs.get, None):
        job.run(store)
        del job  # what it returned may be large: do not hold it while waiting for the next
    store.close()
    if closed.set_running_or_notify_cancel():
        closed.set_result(None)
