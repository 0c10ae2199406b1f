"""Access to the history's file as by another program, or by an earlier version of this one."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from pathlib import Path

from paragone_workbench.paths import history_file
from paragone_workbench.store.file.database import SCHEMA


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


def schema_of(version: int, folder: Path) -> Path:
    """Copy the scripts of the schema up to this version to a new folder, for `Database`."""
    shutil.copytree(SCHEMA, folder)
    for script in folder.glob("*.sql"):
        if int(script.name.removeprefix("whole_")[:4]) > version:
            script.unlink()
    return folder
