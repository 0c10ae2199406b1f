"""The history's file, as another program sees and locks it."""

from __future__ import annotations

import contextlib
import sqlite3

from paragone_workbench.paths import history_file


def rows(sql: str) -> list[tuple]:
    """Ask the file itself, as another program would."""
    with contextlib.closing(sqlite3.connect(history_file())) as connection:
        return connection.execute(sql).fetchall()


@contextlib.contextmanager
def locked():
    """Hold the file locked, as another program might."""
    with contextlib.closing(sqlite3.connect(history_file(), isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        yield
        connection.execute("ROLLBACK")
