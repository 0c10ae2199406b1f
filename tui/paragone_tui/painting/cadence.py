"""Synchronizes repaints, so that changes in several lanes are painted as one frame."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from math import floor, inf

BEAT = 1 / 10
"""Seconds between two frames while text streams in: 10 frames/s look smooth, with a third of the bytes of 30 frames/s."""


class Cadence:
    """Combines all requests until the next beat into one call of a function.

    A beat is every `every` seconds on the event loop's clock, so that all instances call their functions at the same
    time. If the last call is more than three beats ago, a request calls the function at once.
    """

    def __init__(self, call: Callable[[], object], every: float = BEAT) -> None:
        self._call = call
        self._every = every
        self._last = -inf
        self._handle: asyncio.Handle | None = None

    @property
    def waiting(self) -> bool:
        return self._handle is not None

    def ask(self) -> None:
        """Schedule a call for the next beat, unless a call is scheduled. Needs a running event loop."""
        if self._handle is not None:
            return
        loop = asyncio.get_running_loop()
        now = loop.time()
        if now - self._last > 3 * self._every:
            self._handle = loop.call_soon(self._run)
        else:
            self._handle = loop.call_at((floor(now / self._every) + 1) * self._every, self._run)

    def stop(self) -> None:
        """Cancel the scheduled call, if there is one."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _run(self) -> None:
        self._handle = None
        self._last = asyncio.get_running_loop().time()
        self._call()
