"""Memory: the garbage collector starts after the first paint, and freed memory goes back to the system."""

from __future__ import annotations

import contextlib
import gc


def begin_collecting() -> None:
    """Enable garbage collection. Objects that exist already are exempt: most of them live until the end."""
    gc.freeze()
    gc.enable()


def return_memory() -> None:
    """Return freed memory to the system: glibc keeps what long answers needed, between smaller blocks that are in use."""
    import ctypes  # not needed at start

    with contextlib.suppress(AttributeError, OSError):  # another C library
        ctypes.CDLL(None).malloc_trim(0)
