"""Which copies of the program are alive: each holds a lock that the kernel releases when it dies.

Process ids would not do: they are used again, and mean nothing across containers that share a home.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from paragone_workbench.store.errors import StoreError

__all__ = ["Owner", "exclusive"]

OPENING_S = 5.0
"""Seconds to wait while another copy of the program opens the history: it may be migrating it."""


class Owner:
    """This copy of the program. Raises OSError."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        self.lock = os.urandom(8).hex()
        """The name of its lock file, never used again."""
        self._path = folder / self.lock
        self._handle = os.open(self._path, os.O_CREAT | os.O_RDWR, 0o600)
        fcntl.flock(self._handle, fcntl.LOCK_EX)

    def alive(self) -> set[str]:
        """Return the lock names of all living copies, this one included; deletes the lock files of those that ended."""
        alive = {self.lock}
        for path in self._path.parent.iterdir():
            if path.name != self.lock and _held(path):
                alive.add(path.name)
            elif path.name != self.lock:
                path.unlink(missing_ok=True)
        return alive

    def release(self) -> None:
        """Give the lock back. Never fails."""
        with contextlib.suppress(OSError):
            self._path.unlink()
        os.close(self._handle)


@contextlib.contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Let one copy of the program at a time open the history in `path`. Raises OSError and StoreError."""
    lock = path.with_name(f"{path.name}.opening")
    handle = os.open(lock, os.O_CREAT | os.O_RDWR, 0o600)
    try:
        end = time.monotonic() + OPENING_S
        while not _locked(handle):
            if time.monotonic() >= end:
                raise StoreError(
                    f"The history in {path} cannot be opened: another copy of the program has been "
                    f"opening it for {OPENING_S:.0f} s.",
                    hint=f"It may hang: end the process that has {lock} open.",
                    can_pass=True,
                )
            time.sleep(0.02)
        yield
    finally:
        os.close(handle)


def _locked(handle: int) -> bool:
    """Lock an open file, if nobody else has."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _held(path: Path) -> bool:
    """Whether another process has the file locked."""
    try:
        handle = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        return not _locked(handle)
    finally:
        os.close(handle)
