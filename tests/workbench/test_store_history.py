"""The store in its thread, used from the event loop."""

import asyncio
import contextlib
import fcntl
import sqlite3
import threading

import pytest
from tests.workbench.history_file import slow

from paragone_workbench.conversation.tree import Conversation
from paragone_workbench.paths import history_file
from paragone_workbench.store import History, StoreError, saving
from paragone_workbench.store.outbox import Outbox

NEW = Outbox(Conversation()).take()[0]


@pytest.fixture
async def opened(check_nothing_left, short_waits):
    opened = await History.open()
    yield opened
    await opened.close()


async def test_the_store_uses_one_thread(opened):
    threads = [await opened.call(lambda _: threading.current_thread()) for _ in range(3)]
    assert threads[0] is not threading.current_thread()
    assert set(threads) == {threads[0]}
    await opened.close()
    await opened.close()
    threads[0].join(5)
    assert not threads[0].is_alive()
    assert not any(history_file().with_name("history.db.owners").iterdir())
    with pytest.raises(StoreError, match="closed"):
        await opened.call(lambda store: store.conversations())


async def test_a_history_is_closed_if_opening_is_cancelled(check_nothing_left, until):
    history_file().parent.mkdir(parents=True)
    with history_file().with_name("history.db.opening").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        opening = asyncio.create_task(History.open())
        await until(lambda: "history" in [thread.name for thread in threading.enumerate()])
        opening.cancel()
        await asyncio.wait([opening])
    owners = history_file().with_name("history.db.owners")
    await until(lambda: owners.exists() and not any(owners.iterdir()))
    await until(lambda: "history" not in [thread.name for thread in threading.enumerate()])


async def test_a_cancelled_call_is_not_executed(opened):
    made: list[int] = []
    async with slow(opened):
        waiting = asyncio.ensure_future(opened.call(lambda _: made.append(1)))
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
    await opened.call(lambda store: store.conversations())
    assert made == []


async def test_a_hanging_disk_does_not_prevent_closing(opened, monkeypatch):
    monkeypatch.setattr(saving, "THREAD_CLOSE_S", 0.1)
    async with slow(opened):
        await opened.close()


async def test_waiting_for_a_lock_has_a_timeout(opened):
    with contextlib.closing(sqlite3.connect(history_file(), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        with pytest.raises(StoreError, match="keeps it locked") as told:
            await opened.call(lambda store: store.save(NEW))
        assert told.value.can_pass
        assert await opened.call(lambda store: store.conversations()) == (), "reading still works"
        assert await opened.call(lambda store: store._database.rows("PRAGMA busy_timeout")) == [(50,)]
