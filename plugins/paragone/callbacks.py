"""Turn a callback into a generator, for engines whose library passes its tokens to a callback.

The library's call returns only when its work is done, but an engine must yield events during the call.
`stream` runs the call in its own thread and yields the items that the callback receives.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Generator
from typing import TypeAlias, TypeVar

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
    waiting: deque[T] = deque()
    changed = threading.Condition()
    ended = closed = False
    result: R | None = None
    failure: BaseException | None = None

    def emit(item: T) -> bool:
        with changed:
            changed.wait_for(lambda: closed or len(waiting) < capacity)
            if closed or ended:
                return False
            waiting.append(item)
            changed.notify_all()
        return not cancelled

    def run() -> None:
        nonlocal ended, result, failure
        try:
            result = call(emit)
        except BaseException as error:  # noqa: BLE001 (raised again in the consumer's thread)
            failure = error
        with changed:
            ended = True
            changed.notify_all()

    thread = threading.Thread(target=run, name="paragone-callbacks", daemon=True)
    thread.start()
    try:
        while True:
            with changed:
                changed.wait_for(lambda: waiting or ended)
                if not waiting:
                    break
                item = waiting.popleft()
                changed.notify_all()
            yield item
    finally:
        with changed:
            closed = not ended
            changed.notify_all()
        thread.join()
        if (closed or cancelled) and isinstance(failure, Exception):
            _log.warning("A call ended with an error after the request to stop.", exc_info=failure)
            failure = None
    if failure is not None:
        raise failure
    return result
