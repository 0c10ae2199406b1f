"""Memory that the application and a worker share: blocks of numbers that would be too large as JSON.

The application makes a file, in memory where the system has such, and the worker maps the same file.
Both use it as two slots in turn: the worker fills one while the application reads the other.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os
import tempfile
from pathlib import Path

__all__ = ["SLOTS", "SLOT_BYTES", "SharedBuffer"]

SLOTS = 2
SLOT_BYTES = 8 << 20
"""Bytes of a slot: 8 rows of a vocabulary of 262,144 tokens."""

_IN_MEMORY = Path("/dev/shm")  # noqa: S108 (Linux's file system in memory)


class SharedBuffer:
    """The mapped file."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._memory = mmap.mmap(descriptor, SLOTS * SLOT_BYTES)
        self._view = memoryview(self._memory)

    @classmethod
    def create(cls) -> SharedBuffer:
        """Make the file, readable by the user alone. Raises OSError."""
        if os.access(_IN_MEMORY, os.W_OK):
            try:
                return cls._create(_IN_MEMORY)
            except OSError as error:
                # Containers have little room there by default, and quotas exist.
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
        return cls._create(None)

    @classmethod
    def _create(cls, folder: Path | None) -> SharedBuffer:
        descriptor, path = tempfile.mkstemp(prefix="paragone-", dir=folder)
        try:
            _allocate(descriptor, SLOTS * SLOT_BYTES)
            return cls(path, descriptor)
        except BaseException:
            Path(path).unlink()
            raise
        finally:
            os.close(descriptor)

    @classmethod
    def open(cls, path: str) -> SharedBuffer:
        """Map the file that the other side made. Raises OSError."""
        descriptor = os.open(path, os.O_RDWR)
        try:
            return cls(path, descriptor)
        finally:
            os.close(descriptor)

    def slot(self, number: int, size: int) -> memoryview:
        """Return the first `size` bytes of a slot."""
        start = number * SLOT_BYTES
        return self._view[start : start + size]

    def unlink(self) -> None:
        """Remove the file's name; both mappings stay. May be called twice."""
        with contextlib.suppress(FileNotFoundError):
            Path(self.path).unlink()


def _allocate(descriptor: int, size: int) -> None:
    """Give the file its size and its room: writing to a mapped file on a full disk kills the process."""
    if hasattr(os, "posix_fallocate"):  # not on macOS
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)
