"""How many requests are in progress at a time: as many as make an engine answer more in the same time."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass

MOST_REQUESTS = 64
"""Requests in progress at one server at most, for suites whose engines are on other machines."""

_STEP = 1.5
"""By this factor the limit grows."""
_BETTER = 1.1
"""By this factor a rate must rise for the limit to grow further."""


@dataclass(slots=True)
class RequestTurn:
    """A request in progress."""

    succeeded: bool = True
    """Set it to False if the request failed or was not sent."""


class Concurrency:
    """Lets requests begin, never more than the limit at a time.

    The limit is `least` at first. While it is below `most`, it grows as long as the requests that end in a second
    become more: a server that batches answers several requests in the time of one. If they do not, the limit returns
    to the one before. The limit falls by half if a request fails, since a server may refuse too many requests. A rate is
    measured over twice as many requests as the limit.
    """

    def __init__(self, least: int, most: int) -> None:
        self.limit = least
        """Most requests in progress at a time."""
        self._least = least
        self._most = most
        self._now = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._best = (0.0, least)
        """The highest rate so far, and its limit."""
        self._ended = 0
        self._since: float | None = None
        """When the measurement at this limit began; None if the requests of the limit before have yet to end."""
        self._settling = least

    @property
    def load(self) -> float:
        """The requests in progress and those that wait, as a share of the limit."""
        return (self._now + len(self._waiting)) / self.limit

    @contextlib.asynccontextmanager
    async def turn(self) -> AsyncIterator[RequestTurn]:
        """Wait until a request may begin. The request ends when the context is left."""
        if self._now < self.limit:
            self._now += 1
        else:
            place = asyncio.get_running_loop().create_future()
            self._waiting.append(place)
            try:
                await place  # who lets it begin has counted it
            except asyncio.CancelledError:
                if place.done() and not place.cancelled():
                    self._leave()
                raise
        turn = RequestTurn()
        try:
            yield turn
        except BaseException:
            turn.succeeded = False
            raise
        finally:
            if self._least < self._most:
                self.ended(time.monotonic(), succeeded=turn.succeeded)
            self._leave()

    def _leave(self) -> None:
        """Let waiting requests begin as far as there is room, in the order in which they came."""
        self._now -= 1
        while self._waiting and self._now < self.limit:
            place = self._waiting.popleft()
            if not place.done():
                self._now += 1
                place.set_result(None)

    def ended(self, now: float, *, succeeded: bool) -> None:
        """Count a request that has ended at this time, in seconds, and set the limit by the rate."""
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
        """Adopt a limit, and begin to measure once the requests in progress have ended."""
        self.limit, self._since, self._settling = limit, None, self._now
