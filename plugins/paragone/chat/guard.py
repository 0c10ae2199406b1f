"""A bound of time and memory around foreign code that runs in this process."""

from __future__ import annotations

import ctypes
import resource
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["GuardError", "bounded"]

SECONDS = 5.0
MEMORY = 256 << 20

_PAGE = resource.getpagesize()


class GuardError(Exception):
    """The code took too much; the text says of what."""


class _OutOfTimeError(BaseException):
    """Raised in the guarded thread from outside; no `except Exception` there can swallow it."""


@contextmanager
def bounded() -> Iterator[None]:
    """Interrupt what runs inside after SECONDS, or when it takes more than MEMORY bytes.

    Raises GuardError. The time is looked at between bytecodes of Python, so that a single call
    into C is not interrupted; the memory is bounded on Linux, for the process as a whole.
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
    timer.start()
    try:
        try:
            try:
                yield
            finally:
                with lock:
                    done = True
                    # It may be on its way already: nothing may be raised outside of this.
                    ctypes.pythonapi.PyThreadState_SetAsyncExc(thread, None)
        finally:
            timer.cancel()
            if limits is not None:
                resource.setrlimit(resource.RLIMIT_AS, limits)
    except _OutOfTimeError:
        raise GuardError("long") from None
    except MemoryError:
        raise GuardError("much memory") from None


def _limit_memory(more: int) -> tuple[int, int] | None:
    """Allow the process `more` bytes of address space, and return the limits that were in force."""
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
