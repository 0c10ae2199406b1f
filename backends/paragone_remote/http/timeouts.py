"""Wait for a server with a timeout, and end the wait when the user asks to stop."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

T = TypeVar("T")


class Stopped(Exception):
    """The user asked to stop."""


class ReplyTimeout(Exception):
    """The reply did not arrive in time."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"nothing in {seconds:g} s")
        self.seconds = seconds


class Wait:
    """The waits of one run. Ending a wait cancels the awaited task, which closes its request."""

    def __init__(self) -> None:
        self._asked = False
        self._present: asyncio.Timeout | None = None

    @property
    def stopped(self) -> bool:
        """Whether the user asked to stop."""
        return self._asked

    def stop(self) -> None:
        """End the current wait and all later waits."""
        if self._asked:
            return  # the current wait is already ending
        self._asked = True
        if self._present is not None:
            self._present.reschedule(asyncio.get_running_loop().time())

    async def within(self, seconds: float | None, awaitable: Awaitable[T]) -> T:
        """Return the result of `awaitable`. Raises ReplyTimeout after `seconds`, Stopped after `stop`."""
        try:
            # The block is entered even after `stop`, so that the awaitable is cancelled.
            async with asyncio.timeout(0 if self._asked else seconds) as self._present:
                return await awaitable
        except TimeoutError:
            if self._asked:
                raise Stopped from None
            if self._present is not None and self._present.expired() and seconds is not None:
                raise ReplyTimeout(seconds) from None
            raise
        finally:
            self._present = None
