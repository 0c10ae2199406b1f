"""Pauses of Textual's pilot that end once the program is at rest, on a busy machine too."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from typing import Any

import pytest

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


@pytest.fixture(scope="package", autouse=True)
def pause_until_at_rest() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for module in ("pilot", "app"):  # the application waits between the keys that the pilot presses
            patch.setattr(f"textual.{module}.wait_for_idle", wait_until_at_rest)
        yield
