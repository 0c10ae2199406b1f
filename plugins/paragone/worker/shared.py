"""Memory that the application and a worker share, for blocks of numbers that are too large for JSON.

The application creates a file, in an in-memory file system if there is one, and the worker maps the
same file. The file has two slots: the worker fills one slot while the application reads the other.
"""

from __future__ import annotations

import contextlib
import errno
import mmap
import os

SLOTS = 2
SLOT_BYTES = 8 << 20
"""Size of a slot in bytes: 8 rows of a vocabulary of 262,144 tokens."""

_IN_MEMORY = "/dev/shm"  # noqa: S108 (Linux's file system in memory)


class SharedBuffer:
    """The shared file, mapped into the memory of this process."""

    def __init__(self, path: str, descriptor: int) -> None:
        self.path = path
        self._memory = mmap.mmap(descriptor, SLOTS * SLOT_BYTES)
        self._view = memoryview(self._memory)

    @classmethod
    def create(cls) -> SharedBuffer:
        """Create the file, which only the user can read. Raises OSError."""
        if os.access(_IN_MEMORY, os.W_OK):
            try:
                return cls._create(_IN_MEMORY)
            except OSError as error:
                # By default, containers have little space in /dev/shm; there may also be a quota.
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise
        return cls._create(None)

    @classmethod
    def _create(cls, folder: str | None) -> SharedBuffer:
        import tempfile  # imported here because workers, which only open files, start faster without this import

        descriptor, path = tempfile.mkstemp(prefix="paragone-", dir=folder)
        try:
            _allocate(descriptor, SLOTS * SLOT_BYTES)
            return cls(path, descriptor)
        except BaseException:
            os.unlink(path)  # noqa: PTH108 (pathlib is slow to import)
            raise
        finally:
            os.close(descriptor)

    @classmethod
    def open(cls, path: str) -> SharedBuffer:
        """Map the file that the application created. Raises OSError."""
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
        """Remove the file's name; both mappings stay valid. May be called twice."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path)  # noqa: PTH108 (pathlib is slow to import)


def _allocate(descriptor: int, size: int) -> None:
    """Allocate the file's disk space: on a full disk, a write to a mapping without disk space would kill the process."""
    if hasattr(os, "posix_fallocate"):  # not on macOS
        os.posix_fallocate(descriptor, 0, size)
    else:
        os.ftruncate(descriptor, size)
