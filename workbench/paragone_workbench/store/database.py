"""Opens and migrates the SQLite file, and marks the runs of ended programs as interrupted."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from paragone import InputError, Json
from paragone.texts import counted
from paragone_workbench.paths import private_folder
from paragone_workbench.store.errors import HistoryLocked, HistoryMoved, StoreError, store_error

if TYPE_CHECKING:
    import sqlite3  # other modules are imported in functions, so that commands show their help faster

Row: TypeAlias = tuple[Any, ...]

SCHEMA = Path(__file__).with_name("schema")
"""The folder of the SQL scripts: `0015_whole.sql` creates the schema of a new file, and later scripts change it."""

OPENING_S = 4.0
"""Seconds to wait for a lock while the file is being opened."""
BUSY_S = 10.0
"""Seconds to wait for a lock once the file is open."""


_DELETED_BEFORE = """
    SELECT number FROM every_conversation WHERE deleted IS NOT NULL AND deleted NOT IN (SELECT id FROM owner)
"""
"""The conversations that were marked as deleted by instances of the program that have ended."""


class Database:
    """A connection to the file. Several instances may use the file, but only one migrates it, inside `exclusive`.
    Errors of SQLite and of the system are raised as StoreError."""

    owner: Owner
    owner_id: int
    """The row of this instance of the program, once it is registered."""

    def __init__(self, path: Path, schema: Path = SCHEMA, *, failure: StoreError | None = None) -> None:
        """Open the file, or create it for the user only, and migrate it. With `failure`, the reason why it cannot be
        written, it is only read: see `warning`. Raises InputError if the schema is unknown to this version, and
        StoreError."""
        self.path = path
        self.warning = ""
        self._is_readable_only = failure is not None
        if failure is not None:
            self.warning = f"Nothing is saved, but the history can be read. {failure.message} {failure.hint}"
            self._connection = _readable(path, failure)
            self._place = _place(path)
            return
        with self._translated_errors():
            self._connection = self._connected(schema)
            self._place = _place(path)

    @classmethod
    def registered(cls, path: Path, *, reads_damaged: bool = False) -> Database:
        """Open the file for this instance of the program, and mark runs of ended instances as interrupted. A file
        that cannot be written now can be read, and each write tries again: see `warning`. A damaged file is opened
        only with `reads_damaged`, for reading."""
        try:
            private_folder(path.parent)
            database = cls._registered(path)
            with contextlib.suppress(StoreError):  # it can wait for a later start
                for (number,) in database.rows(_DELETED_BEFORE):
                    database.run("DELETE FROM every_conversation WHERE number = ?", number)
            return database
        except OSError as error:
            failure = store_error(path, error)
        except HistoryLocked:
            raise
        except StoreError as error:
            failure = error
        if not (failure.can_pass or reads_damaged) or not path.exists():
            raise failure
        return cls(path, failure=failure)

    @classmethod
    def _registered(cls, path: Path) -> Database:
        with contextlib.ExitStack() as undo:
            undo.enter_context(exclusive(path))
            failed = undo.enter_context(contextlib.ExitStack())
            owner = Owner(path.with_name(f"{path.name}.owners"))
            failed.callback(owner.release)
            database = cls(path)
            failed.callback(database.close)
            database.owner = owner
            with database.transaction():
                alive = owner.alive()
                for owner_id, lock in database.rows("SELECT id, lock FROM owner"):
                    if lock not in alive:
                        interrupt(database, owner_id)
                database.owner_id = database.insert("owner", lock=owner.lock)
            failed.pop_all()
        return database

    def _write(self) -> None:
        """Register this instance, if it could not write before. Raises StoreError."""
        if not self._is_readable_only:
            self.check_place()
            return
        self._connection.close()  # it may hold a lock
        try:
            with self._translated_errors():
                written = self._registered(self.path)
        except StoreError as error:
            self._connection = _readable(self.path, error)
            raise
        self._connection, self._place = written._connection, written._place
        self.owner, self.owner_id = written.owner, written.owner_id
        self._is_readable_only = False

    def check_place(self) -> None:
        """Raise HistoryMoved if the path no longer leads to the open file. In a transaction, this is checked at its end."""
        if self._is_readable_only or self._connection.in_transaction:
            return
        if _place(self.path) != self._place:
            raise HistoryMoved(self.path)

    def begin_anew(self) -> None:
        """After HistoryMoved, open the file that is now at the path, or create one. Raises StoreError."""
        self._is_readable_only = True
        self.close()  # before another file is at the path: SQLite deletes the log at the path
        self.owner.release()
        with self._translated_errors():
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._write()

    def release(self) -> None:
        """Mark the runs of this instance as interrupted, and close the file. Never raises StoreError."""
        if not self._is_readable_only:
            with contextlib.suppress(StoreError), self.transaction():
                interrupt(self, self.owner_id)
            self.owner.release()
        self.close()

    def _connected(self, schema: Path) -> sqlite3.Connection:
        import sqlite3

        if not self.path.exists():
            self.path.touch(mode=0o600)
        try:
            return _connect(self.path, schema)
        except sqlite3.DatabaseError as error:
            damaged = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in damaged:
                raise
            raise _damaged(self.path) from error

    def rows(self, sql: str, *values: object) -> list[Row]:
        with self._translated_errors():
            return self._connection.execute(sql, values).fetchall()

    def stream(self, sql: str, *values: object) -> Iterator[Row]:
        """Yield the rows of a query one at a time, so that the caller can stop early."""
        import sqlite3

        with self._translated_errors():
            cursor = self._connection.execute(sql, values)
            try:
                for row in cursor:  # noqa: UP028 (`yield from` would also close the cursor)
                    yield row
            finally:
                # the traceback of an error may keep this generator alive until the file has been closed
                with contextlib.suppress(sqlite3.ProgrammingError):
                    cursor.close()

    def insert(self, table: str, *, conflict: str = "", **values: object) -> int:
        """Insert a row with these values by column, and return its id. `conflict` is `OR IGNORE` or `OR REPLACE`."""
        names, marks = ", ".join(values), ", ".join("?" * len(values))
        sql = f"INSERT {conflict} INTO {table} ({names}) VALUES ({marks})"  # noqa: S608 (the names of columns)
        return self.run(sql, *values.values())

    def run(self, sql: str, *values: object) -> int:
        """Execute a statement. Returns the id of the new row if the statement is an INSERT that adds a row."""
        self._write()
        with self._translated_errors():
            return self._connection.execute(sql, values).lastrowid or 0

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Execute the statements of the block atomically: an exception rolls all of them back. A nested transaction
        belongs to the outer one."""
        self._write()
        with self._translated_errors(), _transaction(self._connection, "BEGIN IMMEDIATE"):
            yield
        self.check_place()

    @contextlib.contextmanager
    def snapshot(self) -> Iterator[None]:
        """Let all queries of the block see the same state of the file, even if another program writes to it."""
        with self._translated_errors(), _transaction(self._connection, "BEGIN"):
            yield

    def close(self) -> None:
        import sqlite3

        with contextlib.suppress(sqlite3.Error):
            if _place(self.path) != self._place:
                # SQLite leaves the log of a moved file at the old path: it would overwrite the file that is there now
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with contextlib.suppress(sqlite3.Error):
            self._connection.close()

    @contextlib.contextmanager
    def _translated_errors(self) -> Iterator[None]:
        import sqlite3

        try:
            yield
        except (sqlite3.ProgrammingError, sqlite3.InterfaceError) as error:
            if (
                self._is_readable_only
            ):  # another program has locked the file meanwhile, and the connection is closed
                raise store_error(self.path, error) from error
            raise  # a bug in this program, not a problem with the file
        except (sqlite3.Error, OSError) as error:
            raise store_error(self.path, error) from error


def _place(path: Path) -> tuple[int, int] | None:
    with contextlib.suppress(FileNotFoundError):
        found = path.stat()
        return found.st_dev, found.st_ino
    return None


def clean(text: str) -> str:
    """Return the text with each lone surrogate replaced by U+FFFD: JSON from an engine can contain lone surrogates,
    but UTF-8 cannot."""
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def object_in(text: str) -> dict[str, Json]:
    value = json.loads(text)
    if not isinstance(value, dict):
        raise TypeError("not an object")
    return value


def text_in(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


def list_in(text: str) -> list[Json]:
    value = json.loads(text)
    if not isinstance(value, list):
        raise TypeError("not a list")
    return value


def _connect(path: Path, schema: Path) -> sqlite3.Connection:
    import sqlite3

    connection = sqlite3.connect(path, timeout=OPENING_S, isolation_level=None)
    try:
        version: int = connection.execute("PRAGMA user_version").fetchone()[0]
        scripts = _scripts(schema)
        newest = max(scripts)
        if version < 0:
            raise InputError(
                f"The history in {path} has the version {version}, which paragone never writes: "
                "it is damaged, or belongs to another program. Nothing was changed.",
                hint="Move the file away; then a new history is created.",
            )
        if version > newest:
            raise InputError(
                f"The history in {path} was written by a newer version of paragone (its schema is "
                f"{version}, this version knows {newest}). Nothing was changed.",
                hint="Update paragone, or move the file away.",
            )
        if 0 < version < min(scripts):
            raise InputError(
                f"The history in {path} was written by an older version of paragone (its schema is {version}), "
                "which this version cannot read. Nothing was changed.",
                hint="Move the file away; then a new history is created.",
            )
        connection.execute("PRAGMA journal_mode = WAL")
        # With WAL, a power cut may lose the last transactions but does not damage the file.
        connection.execute("PRAGMA synchronous = NORMAL")
        if version < newest:
            _migrate(connection, version, scripts)
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(
            "SELECT 1 FROM sqlite_master"
        ).fetchone()  # raises an error if the schema is damaged
    except BaseException:
        connection.close()
        raise
    return connection


def _scripts(schema: Path) -> dict[int, Path]:
    return {int(path.name[:4]): path for path in schema.glob("*.sql")}


def _readable(path: Path, failure: StoreError) -> sqlite3.Connection:
    """Open a file that cannot be written: together with programs that have it open, or exclusively if the index of
    the log cannot be created. Raises `failure` if this is impossible."""
    import sqlite3

    log = path.with_name(f"{path.name}-wal")
    has_log = log.exists() and log.stat().st_size
    alone = ("", "PRAGMA locking_mode = EXCLUSIVE") if has_log else ("?mode=ro&immutable=1", "")
    for query, first in (("", ""), alone):
        with contextlib.ExitStack() as failed, contextlib.suppress(sqlite3.Error):
            connection = sqlite3.connect(f"{path.absolute().as_uri()}{query}", uri=True, isolation_level=None)
            failed.callback(connection.close)
            connection.execute(first)
            if not failure.can_pass:
                connection.execute("PRAGMA writable_schema = ON")  # to read a file that lacks pages
            connection.execute("SELECT 1 FROM sqlite_master").fetchone()
            if connection.execute("PRAGMA user_version").fetchone()[0] == max(_scripts(SCHEMA)):
                failed.pop_all()
                return connection
    raise failure


def _damaged(path: Path) -> StoreError:
    """Return the error for a damaged file. It reports how much can still be read."""
    import sqlite3

    counts = {"conversation": 0, "prompt": 0}
    with contextlib.suppress(sqlite3.Error):
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        with contextlib.closing(connection):
            connection.execute("PRAGMA writable_schema = ON")  # to read a file that lacks pages
            for table in counts:
                for _ in connection.execute(f"SELECT * FROM {table} ORDER BY number"):  # noqa: S608 (a constant)
                    counts[table] += 1
    found = " and ".join(counted(count, what) for what, count in counts.items())
    return StoreError(
        f"The history in {path} is damaged. At least {found} in it can be recovered.",
        hint="`paragone history export --all --to saved.jsonl` writes the conversations that can be read. Then move the file "
        f"away and import saved.jsonl. `sqlite3 {path} .recover` may recover more.",
    )


def _migrate(connection: sqlite3.Connection, version: int, scripts: Mapping[int, Path]) -> None:
    """Execute the scripts after `version` (0 for an empty file). `scripts` has each script under the version to which
    it leads."""
    later = (scripts[number].read_text(encoding="utf-8") for number in sorted(scripts) if number > version)
    whole = "\n;\n".join(("BEGIN IMMEDIATE", *later, f"PRAGMA user_version = {max(scripts)}", "COMMIT;"))
    with _rolling_back(connection):
        connection.executescript(whole)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection, begin: str) -> Iterator[None]:
    if connection.in_transaction:
        yield
        return
    connection.execute(begin)
    with _rolling_back(connection):
        yield
        connection.execute("COMMIT")


@contextlib.contextmanager
def _rolling_back(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        if connection.in_transaction:  # SQLite rolls back by itself after some errors
            connection.execute("ROLLBACK")
        raise


OTHER_OPENING_S = 5.0
"""Seconds to wait while another instance of the program opens, and perhaps migrates, the history."""


class Owner:
    """This instance of the program. The instance holds a lock until `release`. May raise OSError when created."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        while True:
            self.lock = os.urandom(8).hex()
            """The name of this instance's lock file, which is random: no other instance gets the same name."""
            self._path = folder / self.lock
            self._handle = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._handle, fcntl.LOCK_EX)
            if self._path.exists():
                break
            # Another instance deleted the file before this instance locked it, since only files of ended instances are
            # unlocked.
            os.close(self._handle)

    def alive(self) -> set[str]:
        """Return the lock names of all running instances, and delete the lock files of ended ones."""
        names = (path.name for path in self._path.parent.iterdir() if path != self._path and _held(path))
        return {self.lock, *names}

    def release(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink()
        os.close(self._handle)


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Let one instance at a time open the history. Raises OSError, and StoreError if another instance takes longer
    than `OTHER_OPENING_S`."""
    lock = path.with_name(f"{path.name}.opening")
    handle = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        end = time.monotonic() + OTHER_OPENING_S
        while not _locked(handle):
            if time.monotonic() >= end:
                raise HistoryLocked(
                    f"The history in {path} cannot be opened: another instance of paragone has been "
                    f"opening it for {OTHER_OPENING_S:.0f} s.",
                    hint=f"The other instance may hang: end the process that has {lock} open.",
                    can_pass=True,
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    """Try to lock an open file. Returns False if another process has locked the file."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _held(path: Path) -> bool:
    """Return whether a process holds the lock on a lock file; delete a file whose lock no process holds."""
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        if not _locked(handle):
            return True
        # This process holds the lock while it deletes the file: a new owner that waits for the lock then sees the deletion.
        path.unlink(missing_ok=True)
        return False
    finally:
        os.close(handle)


def interrupt(database: Database, owner_id: int) -> None:
    """Mark the unfinished runs of one instance of the program as interrupted, and delete the instance's row."""
    for (run_id,) in database.rows("SELECT id FROM run WHERE owner_id = ?", owner_id):
        text, thinking = saved_text(database, run_id)
        database.run(
            "UPDATE run SET state = 'interrupted', text = ?, thinking = ?, owner_id = NULL WHERE id = ?",
            text,
            thinking,
            run_id,
        )
        database.run("DELETE FROM piece WHERE run_id = ?", run_id)
    database.run("DELETE FROM owner WHERE id = ?", owner_id)


def saved_text(database: Database, run_id: str) -> tuple[str, str]:
    rows = database.rows("SELECT text, thinking FROM run WHERE id = ?", run_id)
    rows += database.rows("SELECT text, thinking FROM piece WHERE run_id = ? ORDER BY position", run_id)
    return "".join(text for text, _ in rows), "".join(thinking for _, thinking in rows)
