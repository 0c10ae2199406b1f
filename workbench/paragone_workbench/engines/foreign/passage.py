"""Passes items from an event loop to the event loop of another thread."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncGenerator, Callable
from typing import Generic, TypeVar

_T = TypeVar("_T")


class Passage(Generic[_T]):
    """A queue between two event loops, which wakes only a loop that waits. Create the queue on the receiver's loop.

    The sender is at most `ahead` items ahead of those that the receiver has processed.
    """

    def __init__(self, ahead: int) -> None:
        self._ahead = ahead
        self._items: deque[_T] = deque()
        self._sent = self._used = 0
        self._is_closed = False
        self._receiver = _Sleeper()
        self._sender: _Sleeper | None = None
        """Wakes the sender's loop; None until `send_all` is called."""

    async def send_all(self, items: AsyncGenerator[_T, None]) -> None:
        """Send all items of a generator, and close the generator. Called on the sender's loop."""
        sender = self._sender = _Sleeper()
        async with contextlib.aclosing(items):
            async for item in items:
                self._items.append(item)
                self._sent += 1
                self._receiver.wake()
                await asyncio.sleep(0)  # a generator that never waits would block its loop
                await sender.sleep_until(lambda: self._sent - self._used < self._ahead)

    async def received(self) -> AsyncGenerator[_T, None]:
        """Yield the items, up to the end. Called on the receiver's loop."""
        while True:
            await self._receiver.sleep_until(lambda: bool(self._items) or self._is_closed)
            if not self._items:
                return
            while self._items:
                yield self._items.popleft()
                self._used += 1
            if self._sender is not None:
                self._sender.wake()

    def close(self) -> None:
        """Tell the receiver that the passage is closed. Called on the receiver's loop."""
        self._is_closed = True
        self._receiver.wake()


class _Sleeper:
    """Waits on its event loop for a condition that another thread changes."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._woken = asyncio.Event()
        self._sleeps = False

    async def sleep_until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds. The other thread calls `wake` after each change."""
        while not condition():
            self._woken.clear()
            self._sleeps = True
            if not condition():  # the condition may have changed before the other thread saw `_sleeps`
                await self._woken.wait()
            self._sleeps = False

    def wake(self) -> None:
        """Make a waiting loop check the condition again. May be called in another thread."""
        if self._sleeps:
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._woken.set)
