"""The end of the program, which waits for no engine."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

from paragone.worker.process import kill_processes
from paragone_workbench.engines.foreign.event_loop import give_up_all

ENGINES_S = 0.5
"""Seconds that engines have to end when the program does."""


@contextlib.contextmanager
def ending_engines_soon() -> Iterator[None]:
    """If the context lasts longer than `ENGINES_S`, kill the processes of engines, and give up what plugins do in this one."""
    loop = asyncio.get_running_loop()
    ends = [loop.call_later(ENGINES_S, end) for end in (give_up_all, kill_processes)]
    try:
        yield
    finally:
        for end in ends:
            end.cancel()
