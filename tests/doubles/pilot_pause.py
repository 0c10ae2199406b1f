"""Pauses of Textual's pilot that end once the program is at rest, on a busy machine too."""

import asyncio
import math
from collections.abc import Iterator
from typing import Any

import pytest
from textual._queue import Queue
from textual.message import Message
from textual.message_pump import MessagePump
from textual.pilot import Pilot, WaitForScreenTimeout

SOON_S = 0.02
"""Longer than Textual's timers of what it does next: a new size of the terminal, and a frame."""
LONGEST_S = 10.0
"""Seconds to wait at most for a program that never rests."""


async def wait_until_at_rest(min_sleep: float = SOON_S) -> None:
    """Wait until nothing is left to do on the event loop but to wait, also for timers of the next `min_sleep` seconds, or `SOON_S`.

    Textual's own function takes a process that computes nothing for one at rest, also where other processes have the cores.
    And it sleeps for 0.02 s at least, also where no timer is set: twice for each key.
    """
    loop: Any = asyncio.get_running_loop()
    await _finish_steps(loop)  # which may set timers
    end = loop.time() + max(min_sleep, SOON_S)
    while (due := _next_timer(loop)) <= end:
        await asyncio.sleep(due - loop.time())
        await _finish_steps(loop)


async def _finish_steps(loop: Any) -> None:
    """Wait until no step is ready, and no timer is due."""
    deadline = loop.time() + LONGEST_S
    while loop.time() < deadline and (loop._ready or _next_timer(loop) <= loop.time()):
        await asyncio.sleep(0)


def _next_timer(loop: Any) -> float:
    return min((timer.when() for timer in loop._scheduled if not timer.cancelled()), default=math.inf)


async def wait_for_busy_widgets(pilot: Pilot[Any], timeout: float = 30.0) -> bool:
    """Wait until the application and the widgets of its screen have handled the messages that they have now.

    Textual's own function also sends a message to each widget that waits for one: twice for each key, which costs more than the key.
    Returns False after an exception in the application.
    """
    app = pilot.app
    if not app.screen_stack:
        return False
    busy = 0
    handled = asyncio.Event()

    def finish() -> None:
        nonlocal busy
        busy -= 1
        if busy == 0:
            handled.set()

    for pump in (app, *app.screen.walk_children(with_self=True)):
        if not _waits_for_message(pump) and pump.call_later(finish):
            busy += 1
    if busy:
        events = [asyncio.create_task(event.wait()) for event in (handled, app._exception_event)]
        done, pending = await asyncio.wait(events, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        if not done:
            raise WaitForScreenTimeout("A widget has not handled its messages.")
    return busy == 0


def _waits_for_message(pump: MessagePump) -> bool:
    queue: Queue[Message] = pump._message_queue
    return queue.empty() and bool(queue.ready_event._waiters)


@pytest.fixture(scope="package", autouse=True)
def pause_until_at_rest() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in ("pilot", "app"):  # the application waits between the keys that the pilot presses
            patch.setattr(f"textual.{module}.wait_for_idle", wait_until_at_rest)
        patch.setattr(Pilot, "_wait_for_screen", wait_for_busy_widgets)
        yield
