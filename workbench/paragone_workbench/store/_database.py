"""The SQLite file: opened, migrated, and set aside when it is damaged."""

from __future__ import annotations

import contextlib
import re
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeAlias

from paragone import InputError
from paragone_workbench.store.errors import store_error

__all__ = ["MIGRATIONS", "Database", "Row"]

Row: TypeAlias = tuple[Any, ...]

MIGRATIONS = Path(__file__).with_name("migrations")
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)

OPENING_S = 4.0
"""Seconds to wait for a lock while the file is opened: the screen has no history until then."""
BUSY_S = 1.0
"""Seconds to wait for a lock afterwards: the recorder tries again."""


class Database:
    """A connection to the file, brought up to date. Every failure is a StoreError.

    Only one copy of the program may open the file at a time: see `_owners.exclusive`.
    """

    def __init__(self, path: Path, migrations: Path = MIGRATIONS) -> None:
        """Open the file, or make it, readable by the user alone.

        Raises InputError where a newer version of the program wrote it: it is left as it is.
        """
        self.path = path
        self.warning = ""
        with self._translated_errors():
            if not path.exists():
                path.touch(mode=0o600)
            try:
                self._connection = _connect(path, migrations)
            except sqlite3.DatabaseError as error:
                if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _DAMAGED:
                    raise
                aside = _set_aside(path)
                self.warning = f"The history was damaged and is now in {aside}; a new one was begun."
                path.touch(mode=0o600)
                self._connection = _connect(path, migrations)

    def rows(self, sql: str, *values: object) -> list[Row]:
        """Return the rows of a query."""
        with self._translated_errors():
            return self._connection.execute(sql, values).fetchall()

    def stream(self, sql: str, *values: object) -> Iterator[Row]:
        """Yield the rows of a query one at a time, so that the reader can stop early."""
        with self._translated_errors(), contextlib.closing(self._connection.execute(sql, values)) as cursor:
            yield from cursor

    def run(self, sql: str, *values: object) -> int:
        """Execute a statement and return the id of the row that it inserted, if it did."""
        with self._translated_errors():
            return self._connection.execute(sql, values).lastrowid or 0

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Have all statements within take effect together or not at all."""
        with self._translated_errors(), _transaction(self._connection):
            yield

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Have all queries within see the same state of the file, whatever other programs write."""
        with self._translated_errors():
            self._connection.execute("BEGIN")
            try:
                yield
            finally:
                if self._connection.in_transaction:  # some failures roll back by themselves
                    self._connection.execute("ROLLBACK")

    def shorten_waiting(self) -> None:
        """Wait for locks for `BUSY_S` only, from now on."""
        self.run(f"PRAGMA busy_timeout = {BUSY_S * 1000:.0f}")

    def close(self) -> None:
        """Close the connection. Never fails."""
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    @contextlib.contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.ProgrammingError, sqlite3.InterfaceError):
            raise  # our own mistake, not the file's
        except (sqlite3.Error, OSError) as error:
            raise store_error(self.path, error) from error


def _connect(path: Path, migrations: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=OPENING_S, isolation_level=None)
    try:
        version = _version(connection)
        scripts = _scripts(migrations)
        newest = max(scripts)
        if version > newest:
            raise InputError(
                f"The history in {path} was written by a newer version of the program (its schema is "
                f"{version}, this version knows {newest}). Nothing was changed.",
                hint="Update the program, or move the file away.",
            )
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(
            "PRAGMA synchronous = NORMAL"
        )  # a power cut may lose the last moments, never the file
        connection.execute("PRAGMA foreign_keys = ON")
        if version < newest:
            if version:
                _back_up(connection, path.with_name(f"{path.name}.v{version}.bak"))
            _migrate(connection, version, scripts)
        connection.execute("SELECT 1 FROM sqlite_master").fetchone()  # finds a damaged schema now
    except BaseException:
        connection.close()
        raise
    return connection


def _version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _scripts(folder: Path) -> dict[int, Path]:
    """Return the migrations by number: the file that leads to this version of the schema."""
    matches = ((re.match(r"(\d{4})_", path.name), path) for path in folder.glob("*.sql"))
    return {int(match[1]): path for match, path in matches if match}


def _migrate(connection: sqlite3.Connection, version: int, scripts: dict[int, Path]) -> None:
    with _transaction(connection):
        for number in sorted(number for number in scripts if number > version):
            for statement in _statements(scripts[number].read_text(encoding="utf-8")):
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {number}")


def _statements(script: str) -> Iterator[str]:
    """Split a script whose statements end with their lines.

    `executescript` will not do: it commits what is open first.
    """
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
    if statement.strip():
        yield statement


def _back_up(connection: sqlite3.Connection, target: Path) -> None:
    target.unlink(missing_ok=True)
    target.touch(mode=0o600)
    with contextlib.closing(sqlite3.connect(target)) as copy:
        connection.backup(copy)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # some failures roll back by themselves
            connection.execute("ROLLBACK")
        raise


def _set_aside(path: Path) -> Path:
    """Rename a damaged file and what belongs to it; returns its new name."""
    aside, number = path.with_name(f"{path.name}.bad"), 1
    while aside.exists():
        number += 1
        aside = path.with_name(f"{path.name}.bad-{number}")
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            Path(f"{path}{suffix}").rename(f"{aside}{suffix}")
    return aside
