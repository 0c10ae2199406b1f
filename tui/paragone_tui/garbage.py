"""Starts the garbage collector after startup, during which it is disabled to save time."""

from __future__ import annotations

import gc


def begin_collecting() -> None:
    """Enable garbage collection. Objects that exist already are exempt: most of them live until the end."""
    gc.freeze()
    gc.enable()
