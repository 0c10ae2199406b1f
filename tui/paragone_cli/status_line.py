"""One line on a terminal's standard error that says what is going on, and goes when there is something to print."""

from __future__ import annotations

import contextlib
import os
import sys
import time

from paragone_cli.output import one_line

__all__ = ["StatusLine"]

EVERY = 0.1
"""Seconds between two paintings."""


class StatusLine:
    """Says one thing after the other in the same place. Silent elsewhere than on a terminal."""

    def __init__(self) -> None:
        self.on = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._painted = ""
        self._next = 0.0

    @property
    def due(self) -> bool:
        """Whether something new would be painted: not so soon after the last time."""
        return self.on and time.monotonic() >= self._next

    def show(self, text: str) -> None:
        """Paint a text in place of the last one, as much of it as fits."""
        if not self.on:
            return
        self._next = time.monotonic() + EVERY
        # a terminal that does not know its size says 0
        columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        text = one_line(text)[: columns - 1]
        if text != self._painted:
            self._painted = text
            self._write(f"\r{text}\x1b[K")

    def clear(self) -> None:
        """Take the line away, until there is something new."""
        if self._painted:
            self._painted = ""
            self._write("\r\x1b[K")

    def end(self) -> None:
        """Take the line away for good."""
        self.clear()
        self.on = False

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # the terminal is gone: there is nobody to tell
            sys.stderr.write(text)
            sys.stderr.flush()
