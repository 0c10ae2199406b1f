"""The asynchronous interface of the store. The store runs in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from paragone_workbench.store.errors import StoreError

if TYPE_CHECKING:
    from paragone_workbench.store.records import SavedConversation
    from paragone_workbench.store.store import Store

T = TypeVar("T")
Jobs: TypeAlias = "SimpleQueue[Callable[[Store], None] | None]"

CLOSE_S = 3.0
"""Seconds that `close` waits for the thread; longer than a save of the recorder waits for a lock."""


class History:
    """The store in a thread of its own, which executes calls in order. Every call except `close` may raise StoreError."""

    def __init__(self, jobs: Jobs, closed: Future[None], warning: str) -> None:
        self.warning = warning
        """A message for the user if the file was too old and replaced, or can only be read; otherwise empty."""
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
        """Close the file within `CLOSE_S`; runs in progress become interrupted. May be called twice; raises no
        StoreError."""
        if not self._is_closing:
            self._is_closing = True
            self._jobs.put(None)
        await asyncio.wait([asyncio.wrap_future(self._closed)], timeout=CLOSE_S)

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
