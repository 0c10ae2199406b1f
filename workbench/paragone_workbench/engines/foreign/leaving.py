"""The end of the program, which waits for no engine."""

from __future__ import annotations

import asyncio

from paragone.worker.process import kill_processes
from paragone_workbench.engines.foreign.event_loop import give_up_all

ENGINES_S = 0.5
"""Seconds that engines have to end when the program does."""


def end_engines_soon() -> None:
    """After `ENGINES_S` seconds, kill the processes of engines, and give up what plugins do in this one."""
    for end in (give_up_all, kill_processes):
        asyncio.get_running_loop().call_later(ENGINES_S, end)
