"""Ends the program when its terminal goes away without a signal."""

from __future__ import annotations

import os
import select
import signal
import threading

__all__ = ["end_with_terminal"]


def end_with_terminal(terminal: int) -> None:
    """Send SIGHUP to this process when the terminal of a file descriptor goes away.

    The kernel does so only if it is the controlling terminal of the process. Otherwise, as in some
    containers, the program would read end of file in a busy loop, and its engines keep their memory.
    """
    threading.Thread(target=_wait, args=(terminal,), name="hang-up", daemon=True).start()


def _wait(terminal: int) -> None:
    gone = select.poll()
    gone.register(terminal, 0)  # no events: poll always reports errors and hang-ups
    gone.poll()
    os.kill(os.getpid(), signal.SIGHUP)
