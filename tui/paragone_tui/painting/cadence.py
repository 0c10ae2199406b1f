"""One beat for the whole screen, so that what changes in several lanes is painted as one frame."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import floor, inf

__all__ = ["BEAT", "Cadence"]

BEAT = 1 / 10
"""Seconds between two frames while text streams: lively, and a third of the bytes of 30 a second."""


class Cadence:
    """Calls back on the next beat after it was asked to, however often it was asked.

    Beats are multiples of `every` on the event loop's clock: callers that know nothing of each
    other meet on them. After a rest the call comes at once.
    """

    def __init__(self, call: Callable[[], object], every: float = BEAT) -> None:
        self._call = call
        self._every = every
        self._last = -inf
        self._handle: asyncio.Handle | None = None

    @property
    def waiting(self) -> bool:
        """Whether a call is to come."""
        return self._handle is not None

    def ask(self) -> None:
        """Have the call made on the next beat. Needs a running event loop."""
        if self._handle is not None:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now - self._last > 3 * self._every:
            self._handle = loop.call_soon(self._due)
        else:
            self._handle = loop.call_at((floor(now / self._every) + 1) * self._every, self._due)

    def stop(self) -> None:
        """Make no further call, unless asked anew."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _due(self) -> None:
        self._handle = None
        self._last = asyncio.get_running_loop().time()
        self._call()
