"""From callbacks to a generator: for engines whose library hands out its tokens by a callback.

The library's call returns only when its work is done, and an engine must yield events meanwhile.
`stream` runs the call in a thread of its own and yields what the callback was given.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Generator
from typing import Generic, TypeAlias, TypeVar

from paragone.engine import Cancelled

__all__ = ["Emit", "stream"]

T = TypeVar("T")
R = TypeVar("R")

Emit: TypeAlias = Callable[[T], bool]
"""Hands an item to the consumer. Returns whether the call should go on."""

_log = logging.getLogger(__name__)


def stream(
    call: Callable[[Emit[T]], R], *, cancelled: Cancelled | None = None, capacity: int = 64
) -> Generator[T, None, R | None]:
    """Run a blocking call in a thread and yield the items that it emits, in order.

    The call starts when the first item is asked for. The generator ends after the call has ended,
    also when it is closed early: the library is then free for the next call.

    Stopping: `emit` returns True to go on. It returns False once `cancelled` holds or the generator
    is closed; the callback then tells the library to stop, by its return value or by an exception.
    A call that emits nothing, or that ignores the stop, is not interrupted: `stream` waits for it.

    Errors: an exception of the call is raised in the consumer, after the items that were emitted
    before it. After a stop, an exception counts as the call's way of ending: it is logged, not raised.

    State that belongs to a thread, such as the current CUDA device or PyTorch's inference mode, must
    be set within `call`.

    Args:
        call: Takes the function `emit(item)`. It, or the library's callback, calls `emit` from any
            thread. What is emitted after the call has ended, or after the generator was closed, is dropped.
        cancelled: The one that `Engine.generate` is given.
        capacity: Number of items that may wait for the consumer. `emit` blocks when there are so many.

    Returns:
        As the generator's value (`result = yield from stream(…)`), what the call returned; None if it
        was stopped and ended with an exception.
    """
    items: _Items[T] = _Items(capacity, cancelled)
    result: R | None = None
    failure: BaseException | None = None

    def run() -> None:
        nonlocal result, failure
        try:
            result = call(items.emit)
        except BaseException as error:  # noqa: BLE001 (raised again in the consumer's thread)
            failure = error
        finally:
            items.end()

    thread = threading.Thread(target=run, name="paragone-callbacks", daemon=True)
    thread.start()
    try:
        while items.wait():
            yield items.take()
    finally:
        items.close()
        thread.join()
        stopped = items.stopped
        if stopped and isinstance(failure, Exception):
            _log.warning("A call that was asked to stop ended with an error.", exc_info=failure)
            failure = None
    if failure is not None:
        raise failure
    return result


class _Items(Generic[T]):
    """The items that wait between the thread of the call and the consumer."""

    def __init__(self, capacity: int, cancelled: Cancelled | None) -> None:
        self._capacity = capacity
        self._cancelled = cancelled
        self._waiting: deque[T] = deque()
        self._changed = threading.Condition()
        self._ended = False
        """Whether the call has ended."""
        self._closed = False
        """Whether the consumer has left before that."""

    @property
    def stopped(self) -> bool:
        """Whether the call was asked to stop."""
        return self._closed or bool(self._cancelled)

    def emit(self, item: T) -> bool:
        """Add an item, once there is room. Returns whether to go on."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._waiting) < self._capacity)
            if self._closed or self._ended:
                return False
            self._waiting.append(item)
            self._changed.notify_all()
        return not self._cancelled

    def wait(self) -> bool:
        """Wait for an item. Returns False when the call has ended and nothing is left."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._ended)
            return bool(self._waiting)

    def take(self) -> T:
        """Return the oldest item."""
        with self._changed:
            self._changed.notify_all()
            return self._waiting.popleft()

    def end(self) -> None:
        """Note that the call has ended."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def close(self) -> None:
        """Take no more. After the end of the call this changes nothing."""
        with self._changed:
            if not self._ended:
                self._closed = True
                self._waiting.clear()
                self._changed.notify_all()
