"""Repeats a call of the history while the file is locked or the disk is full."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from paragone_workbench.store import StoreError

__all__ = ["retrying"]

T = TypeVar("T")

RETRY_S = 10.0
"""Seconds after which an error that may pass counts as permanent."""

PAUSE_S = 0.2
"""Seconds between two attempts."""


async def retrying(call: Callable[[], Awaitable[T]]) -> T:
    """Return the result of a call; repeat it for some seconds after an error that may pass. Raises StoreError."""
    deadline = time.monotonic() + RETRY_S
    while True:
        try:
            return await call()
        except StoreError as error:
            if not error.can_pass or time.monotonic() >= deadline:
                raise
        await asyncio.sleep(PAUSE_S)
