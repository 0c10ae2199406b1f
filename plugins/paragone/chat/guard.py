"""Time and memory limits for third-party code that runs in this process."""

from __future__ import annotations

import ctypes
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

SECONDS = 5.0
CPU_SECONDS = 60.0
"""Seconds of CPU time, of all threads, after which the kernel ends the process."""
MEMORY = 256 << 20

_PAGE = resource.getpagesize()


class GuardError(Exception):
    """The code exceeded a limit. The error's text completes the phrase “takes too …”."""


class _OutOfTimeError(BaseException):
    """The time is up. A timer's thread raises this error, which `except Exception` does not catch, in the guarded thread."""


@contextmanager
def bounded() -> Iterator[None]:
    """Interrupt the code in the block after SECONDS, or when the code takes more than MEMORY bytes.

    Raises GuardError. The time limit works between Python bytecodes, so it does not interrupt a single call into C. After
    CPU_SECONDS, SIGPROF ends the whole process, so only workers may use this function. The memory limit works only on Linux
    and applies to the whole process.
    """
    thread = ctypes.c_ulong(threading.get_ident())
    lock = threading.Lock()
    done = False

    def interrupt() -> None:
        with lock:
            if not done:
                ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, ctypes.py_object(_OutOfTimeError))

    timer = threading.Timer(SECONDS, interrupt)
    timer.daemon = True
    limits = _limit_memory(MEMORY)
    signal.setitimer(signal.ITIMER_PROF, CPU_SECONDS)
    timer.start()
    try:
        try:
            try:
                yield
            finally:
                with lock:
                    done = True
                    # Cancel an interrupt that is already pending: it must not be raised outside the block.
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, None)
        finally:
            timer.cancel()
            signal.setitimer(signal.ITIMER_PROF, 0)
            if limits is not None:
                resource.setrlimit(resource.RLIMIT_AS, limits)
    except _OutOfTimeError:
        raise GuardError("long") from None
    except MemoryError:
        raise GuardError("much memory") from None


def _limit_memory(more: int) -> tuple[int, int] | None:
    """Limit the process to `more` additional bytes of address space, and return the previous limits."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return None
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = pages * _PAGE + more
    if soft != resource.RLIM_INFINITY and soft <= wanted:
        return None
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    return soft, hard
