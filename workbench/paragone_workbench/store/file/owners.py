"""Finds out which instances of the program are running, and marks the runs of ended instances as interrupted.

Each instance locks a file of its own; the kernel releases the lock when the process ends.

Process ids are unsuitable: the system reuses process ids, and containers that share a home folder have their own ids.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from paragone_workbench.store.errors import StoreError
from paragone_workbench.store.file.database import Database

OPENING_S = 5.0
"""Seconds to wait while another instance of the program opens, and perhaps migrates, the history."""


class Owner:
    """This instance of the program. The instance holds a lock until `release`. May raise OSError when created."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        while True:
            self.lock = os.urandom(8).hex()
            """The name of this instance's lock file; random, so that no other instance gets the same name."""
            self._path = folder / self.lock
            self._handle = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
            fcntl.flock(self._handle, fcntl.LOCK_EX)
            if self._path.exists():
                break
            # Another instance deleted the file before this instance locked it, since only files of ended instances are unlocked.
            os.close(self._handle)

    def alive(self) -> set[str]:
        """Return the lock names of all running instances of the program, including this instance.

        Deletes the lock files of instances that have ended.
        """
        names = (path.name for path in self._path.parent.iterdir() if path != self._path and _held(path))
        return {self.lock, *names}

    def release(self) -> None:
        with contextlib.suppress(OSError):
            self._path.unlink()
        os.close(self._handle)


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Let only one instance of the program at a time open the history in `path`.

    Raises OSError, and StoreError if another instance is still opening the history after `OPENING_S`.
    """
    lock = path.with_name(f"{path.name}.opening")
    handle = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        end = time.monotonic() + OPENING_S
        while not _locked(handle):
            if time.monotonic() >= end:
                raise StoreError(
                    f"The history in {path} cannot be opened: another instance of paragone has been "
                    f"opening it for {OPENING_S:.0f} s.",
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


def interrupt_dead(database: Database, alive: set[str]) -> None:
    """Mark the runs of ended instances of the program as interrupted, and delete the rows of these instances.

    `alive` contains the lock names of the instances that still exist.
    """
    for owner_id, lock in database.rows("SELECT id, lock FROM owner"):
        if lock not in alive:
            interrupt(database, owner_id)


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
    """Return the saved parts of the answer and of the thinking of an unfinished run."""
    rows = database.rows("SELECT text, thinking FROM run WHERE id = ?", run_id)
    rows += database.rows("SELECT text, thinking FROM piece WHERE run_id = ? ORDER BY position", run_id)
    return "".join(text for text, _ in rows), "".join(thinking for _, thinking in rows)
