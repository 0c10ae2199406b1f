"""Turn a callback into a generator, for engines whose library passes its tokens to a callback.

The library's call returns only when its work is done, but an engine must yield events during the call.
`stream` runs the call in its own thread and yields the items that the callback receives.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Generic, TypeAlias, TypeVar

from paragone.engine import Cancelled

T = TypeVar("T")
R = TypeVar("R")

Emit: TypeAlias = Callable[[T], bool]
"""Passes an item to the consumer. Returns whether the call should continue."""

_log = logging.getLogger(__name__)


def stream(
    call: Callable[[Emit[T]], R], *, cancelled: Cancelled | None = None, capacity: int = 64
) -> Generator[T, None, R | None]:
    """Run a blocking call in a thread and yield the items that it emits, in order.

    The call starts when the first item is requested. Even a generator that is closed early ends only
    after the call has ended, so that the library is free for the next call.

    Stopping: `emit` returns True to continue. Once `cancelled` is true or the generator is closed,
    `emit` returns False, and the callback must tell the library to stop, by its return value or by an
    exception. `stream` waits for a call that emits nothing or that ignores the stop.

    Errors: an exception of the call is raised in the consumer, after the items that were emitted
    before it. After a stop, an exception is an expected way for the call to end: it is logged, not raised.

    `call` must set thread-local state, such as the current CUDA device or PyTorch's inference mode, itself: `call` runs in
    a thread of its own.

    Args:
        call: Receives the function `emit(item)`, which may be called from any thread. Items emitted after the
            call has ended, or after the generator was closed, are dropped.
        cancelled: The argument of `Engine.generate`.
        capacity: Largest number of items that wait for the consumer. At this number, `emit` blocks.

    Returns:
        The return value of the call, as the generator's value (`result = yield from stream(…)`); None
        if the call was stopped and ended with an exception.
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
        yield from items.arriving()
    finally:
        items.close()
        thread.join()
        stopped = items.stopped
        if stopped and isinstance(failure, Exception):
            _log.warning("A call ended with an error after the request to stop.", exc_info=failure)
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
        """Whether the consumer closed the generator before the call ended."""

    @property
    def stopped(self) -> bool:
        """Whether the consumer or the user wants the call to stop."""
        return self._closed or bool(self._cancelled)

    def emit(self, item: T) -> bool:
        """Add an item as soon as there is room. Return whether the call should continue."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._waiting) < self._capacity)
            if self._closed or self._ended:
                return False
            self._waiting.append(item)
            self._changed.notify_all()
        return not self._cancelled

    def arriving(self) -> Iterator[T]:
        """Yield the items, the oldest first, until the call has ended and no item is left."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._waiting or self._ended)
                if not self._waiting:
                    return
                item = self._waiting.popleft()
                self._changed.notify_all()
            yield item

    def end(self) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def close(self) -> None:
        """Accept no more items. Has no effect after the end of the call."""
        with self._changed:
            if not self._ended:
                self._closed = True
                self._waiting.clear()
                self._changed.notify_all()
