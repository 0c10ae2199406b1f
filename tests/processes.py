"""Processes that tests wait for."""

import asyncio
import contextlib

import psutil


async def gone(pid: int) -> None:
    """Wait until a process has ended; nobody may have read its exit status yet. Raises TimeoutError after 20 s."""
    with contextlib.suppress(psutil.NoSuchProcess):
        async with asyncio.timeout(20):
            while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                await asyncio.sleep(0.01)
