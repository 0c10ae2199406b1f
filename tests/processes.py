"""Processes that tests wait for."""

import asyncio
import contextlib
import os

import psutil


async def gone(pid: int) -> None:
    """Wait until a process has ended; nobody may have read its exit status yet. Raises TimeoutError after 20 s."""
    with contextlib.suppress(psutil.NoSuchProcess):
        async with asyncio.timeout(20):
            while psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                await asyncio.sleep(0.01)


def words_of(process: psutil.Process) -> list[str]:
    """Return the command line of a process; without words if the process has ended."""
    return process.as_dict(["cmdline"], ad_value=[])["cmdline"]


def engines_of(program: int) -> list[psutil.Process]:
    """Return the processes that run the engines of the program with this process id.

    The process of an engine leads a session. A process that forks these processes for a program in a fork does not.
    """
    children = psutil.Process(program).children(recursive=True)
    return [child for child in children if _leads_session(child.pid)]


def _leads_session(pid: int) -> bool:
    with contextlib.suppress(ProcessLookupError):
        return os.getsid(pid) == pid
    return False
