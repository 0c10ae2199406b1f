"""The retry policy of everything that saves in the history, for a locked file or a full disk."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

from paragone_workbench.store.errors import HistoryLocked, StoreError

if TYPE_CHECKING:
    from paragone_workbench.store.history import History
    from paragone_workbench.store.store import Store


T = TypeVar("T")

FIRST_S = 0.2
"""Seconds from a failed attempt to the next one; doubled after each further failure, up to `LONGEST_S`."""
LONGEST_S = 5.0
GIVE_UP_S = 10.0
"""Seconds after which `retrying` raises even a temporary error."""
GIVE_UP_BLOCKING_S = 60.0
"""Seconds after which `retrying_now` raises even a temporary error."""


def pauses() -> Iterator[float]:
    """Yield the seconds to wait after each failed attempt in a row."""
    pause = FIRST_S
    while True:
        yield pause
        pause = min(2 * pause, LONGEST_S)


def retrying_now(call: Callable[[], T]) -> T:
    """Return the result of a call of the store; repeat the call for a minute after temporary errors.

    Blocks. For imports and copies, which must wait while other programs save large conversations. Raises StoreError.
    """
    deadline = time.monotonic() + GIVE_UP_BLOCKING_S
    for pause in pauses():
        try:
            return call()
        except StoreError as error:
            if not error.can_pass or time.monotonic() >= deadline:
                raise
        time.sleep(pause)
    raise AssertionError("pauses never end")


async def retrying(
    history: History, call: Callable[[Store], T], *, waits: Callable[[], bool] = lambda: False
) -> T:
    """Return the result of a call; repeat the call for `GIVE_UP_S` after temporary errors. Raises StoreError.

    After `GIVE_UP_S`, the call is repeated only if a program locks the history, and as long as `waits` returns true.
    """
    deadline = time.monotonic() + GIVE_UP_S
    for pause in pauses():
        try:
            return await history.call(call)
        except StoreError as error:
            if not error.can_pass:
                raise
            if time.monotonic() >= deadline and not (isinstance(error, HistoryLocked) and waits()):
                raise
        await asyncio.sleep(pause)
    raise AssertionError("pauses never end")
