"""Access to the history's file as by another program."""

import asyncio
import contextlib
import functools
import sqlite3
import tempfile
import threading
from pathlib import Path

from paragone_workbench.paths import history_file, private_folder
from paragone_workbench.store import History, Store
from paragone_workbench.store.database import Database


@functools.cache
def _empty() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "history.db")
        Database(path).close()
        return path.read_bytes()


def _begin(path: Path | None) -> None:
    path = path or history_file()
    if not path.exists():
        private_folder(path.parent)
        path.touch(0o600)
        path.write_bytes(_empty())


def open_store(path: Path | None = None) -> Store:
    """Open a history as `Store.open` does. A new one is a copy of an empty one: creating it takes six times as long."""
    _begin(path)
    return Store.open(path)


async def open_history(path: Path | None = None) -> History:
    """Open a history as `History.open` does, and a new one as `open_store` does."""
    _begin(path)
    return await History.open(path)


def rows(sql: str) -> list[tuple]:
    """Query the file with a separate connection."""
    with contextlib.closing(sqlite3.connect(history_file())) as connection:
        return connection.execute(sql).fetchall()


@contextlib.asynccontextmanager
async def slow(history: History):
    """Delay all saving until the end of the block, as on a slow disk."""
    begun, gate = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def wait(_: Store) -> bool:
        loop.call_soon_threadsafe(begun.set)
        return gate.wait(60)

    waiting = asyncio.ensure_future(history.call(wait))
    await begun.wait()
    try:
        yield
    finally:
        gate.set()
        assert await waiting


@contextlib.contextmanager
def locked():
    """Keep the file locked, as another program might do."""
    with contextlib.closing(sqlite3.connect(history_file(), isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")
