"""Pauses of Textual's pilot that end once the program is at rest, on a busy machine too."""

from __future__ import annotations

import asyncio
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
    """
    await _finish_steps()  # which may set timers
    await asyncio.sleep(max(min_sleep, SOON_S))
    await _finish_steps()


async def _finish_steps() -> None:
    """Wait until no step is ready, and no timer is due."""
    loop: Any = asyncio.get_running_loop()
    deadline = loop.time() + LONGEST_S
    while loop.time() < deadline and (loop._ready or _is_due(loop)):
        await asyncio.sleep(0)


def _is_due(loop: Any) -> bool:
    return any(timer.when() <= loop.time() for timer in loop._scheduled if not timer.cancelled())


@pytest.fixture(scope="package", autouse=True)
def pause_until_at_rest() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("textual.pilot.wait_for_idle", wait_until_at_rest)
        yield
