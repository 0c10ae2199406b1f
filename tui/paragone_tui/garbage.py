"""When Python looks for garbage: not while the program starts."""

from __future__ import annotations

import gc

__all__ = ["begin_collecting"]


def begin_collecting() -> None:
    """Look for garbage from now on, among what is made from now on: what is loaded stays to the end."""
    gc.freeze()
    gc.enable()
