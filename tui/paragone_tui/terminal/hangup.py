"""The end of the program when its terminal is gone, though nobody told it."""

from __future__ import annotations

import os
import select
import signal
import threading

__all__ = ["end_with_terminal"]


def end_with_terminal(terminal: int) -> None:
    """Hang this process up when the terminal behind that file descriptor goes away.

    The kernel does so for a program that the terminal controls. Another one, as in a container,
    would read from nothing at full speed, while its engines hold their memory.
    """
    threading.Thread(target=_wait, args=(terminal,), name="hang-up", daemon=True).start()


def _wait(terminal: int) -> None:
    gone = select.poll()
    gone.register(terminal, 0)  # for nothing but errors and hang-ups, which are always told of
    gone.poll()
    os.kill(os.getpid(), signal.SIGHUP)
