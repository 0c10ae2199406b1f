"""Ends engines when the program ends, without waiting for slow ones."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from paragone.worker.process import kill_processes
from paragone_workbench.engines.foreign.event_loop import give_up_all

ENGINES_S = 0.5
"""Seconds that engines have to end when the program ends."""


@contextlib.contextmanager
def ending_engines_soon() -> Iterator[None]:
    """If the block takes longer than `ENGINES_S` seconds, kill engines' processes and abandon the loops of plugins."""
    loop = asyncio.get_running_loop()
    ends = [loop.call_later(ENGINES_S, end) for end in (give_up_all, kill_processes)]
    try:
        yield
    finally:
        for end in ends:
            end.cancel()
