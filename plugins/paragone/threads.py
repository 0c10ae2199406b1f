"""Threads that do not prevent the program from ending, and the CPU cores that compute threads can use."""

import functools
import os
import threading
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Final, TypeVar

T = TypeVar("T")


def in_daemon_thread(call: Callable[[], T]) -> Future[T]:
    """Start a blocking call in a daemon thread of its own; return its future.

    Use this function for calls that may never return: at exit, Python does not wait for daemon threads, unlike the
    threads of `asyncio.to_thread`.
    """
    future: Future[T] = Future()

    def run() -> None:
        if not future.set_running_or_notify_cancel():
            return
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 (the caller who waits for the result gets it)
            future.set_exception(error)

    threading.Thread(target=run, name="blocking call", daemon=True).start()
    return future


async def run_in_thread(call: Callable[[], T]) -> T:
    """Run a blocking call in a daemon thread, and return its result or raise its exception. Cancelling abandons the call."""
    import asyncio  # imported here because workers start faster without it

    return await asyncio.wrap_future(in_daemon_thread(call))


OPENMP: Final = {"GOMP_SPINCOUNT": "10000"}
"""Environment variables for a program that computes with OpenMP, unless the user has set them.

The threads of GCC's OpenMP library spin while they wait for each other. By default the threads spin so long that one thread
without a free core delays all others. With two other busy processes on 2 cores, llama.cpp decoded 0.4 to 19 tokens/s by
default, and 30 to 33 with this setting. Without another busy process, llama.cpp decoded 65 tokens/s by default, and 63 with
this setting.
Source: https://gcc.gnu.org/onlinedocs/libgomp/GOMP_005fSPINCOUNT.html
"""


def physical_cores() -> int:
    """Return the number of cores that this process may run on; hyper-threads of one core count once."""
    if not hasattr(os, "sched_getaffinity"):
        return os.cpu_count() or 1
    return _cores_of(frozenset(os.sched_getaffinity(0)))


@functools.lru_cache(maxsize=8)  # each run calls this, and one file per CPU must be read
def _cores_of(cpus: frozenset[int]) -> int:
    siblings = set()
    for cpu in cpus:
        topology = Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list")
        try:
            siblings.add(topology.read_text())
        except OSError:
            siblings.add(str(cpu))
    return len(siblings)
