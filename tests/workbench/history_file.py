"""Access to the history's file as by another program."""

from __future__ import annotations

import contextlib
import sqlite3

from paragone_workbench.paths import history_file


def rows(sql: str) -> list[tuple]:
    """Query the file with a separate connection."""
    with contextlib.closing(sqlite3.connect(history_file())) as connection:
        return connection.execute(sql).fetchall()


@contextlib.contextmanager
def locked():
    """Keep the file locked, as another program might do."""
    with contextlib.closing(sqlite3.connect(history_file(), isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")
