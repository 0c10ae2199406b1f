"""Limits the requests in progress. The limit grows as long as more requests raise the engine's throughput."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator

MOST_REQUESTS = 64
"""Largest number of requests in progress at one server, for suites whose engines are on other machines."""

_STEP = 1.5
"""The factor by which the limit grows."""
_BETTER = 1.1
"""The factor by which the rate must rise for the limit to grow further."""


class Concurrency:
    """Lets requests begin as long as fewer than the limit are in progress.

    The limit is `least` at first, and grows up to `most` as long as more requests end per second: a server that batches
    answers several requests in the time of one. When the rate stops rising, the limit returns to the previous value.
    The limit falls by half if a request fails, since a server may refuse too many requests. A rate
    is measured over twice as many requests as the limit.
    """

    def __init__(self, least: int, most: int) -> None:
        self.limit = least
        """Largest number of requests in progress at a time."""
        self._least = least
        self._most = most
        self._now = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._best = (0.0, least)
        """The highest rate so far, and the limit at that rate."""
        self._ended = 0
        self._since: float | None = None
        """When the measurement at this limit began; None while requests that began before the limit changed are in progress."""
        self._settling = least

    @property
    def load(self) -> float:
        """The number of requests in progress or waiting, divided by the limit."""
        return (self._now + len(self._waiting)) / self.limit

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until a request may begin. Call `ended` with the result, before the end of the context."""
        if self._now < self.limit:
            self._now += 1
        else:
            may_begin = asyncio.get_running_loop().create_future()
            self._waiting.append(may_begin)
            try:
                await may_begin  # `_leave` has counted the request
            except asyncio.CancelledError:
                if may_begin.done() and not may_begin.cancelled():
                    self._leave()
                raise
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        """End a request, and let waiting requests begin up to the limit, in the order of arrival."""
        self._now -= 1
        while self._waiting and self._now < self.limit:
            may_begin = self._waiting.popleft()
            if not may_begin.done():
                self._now += 1
                may_begin.set_result(None)

    def ended(self, now: float, *, succeeded: bool) -> None:
        """Count a request that ended at the time `now`, in seconds, and adjust the limit to the rate."""
        if not succeeded:
            self._best = (0.0, self._least)
            self._set(max(self._least, self.limit // 2))
            return
        if self._since is None:
            self._settling -= 1
            if self._settling <= 0:
                self._since, self._ended = now, 0
            return
        self._ended += 1
        if self._ended < 2 * self.limit:
            return
        rate = self._ended / max(1e-9, now - self._since)
        best, limit = self._best
        if rate > best * _BETTER:
            self._best = (rate, self.limit)
            self._set(min(self._most, round(self.limit * _STEP)))
        else:
            self._set(limit)

    def _set(self, limit: int) -> None:
        """Change the limit, and begin to measure once the requests in progress have ended."""
        self.limit, self._since, self._settling = limit, None, self._now
