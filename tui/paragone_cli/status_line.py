"""A status line on standard error, if that is a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import time

from paragone_cli.output import one_line

__all__ = ["StatusLine"]

EVERY = 0.1
"""Minimum seconds between two updates."""


class StatusLine:
    """A line of text that is updated in place. It prints nothing if standard error is not a terminal."""

    def __init__(self) -> None:
        self.on = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._painted = ""
        self._next = 0.0

    @property
    def due(self) -> bool:
        """Whether enough time has passed since the last update."""
        return self.on and time.monotonic() >= self._next

    def show(self, text: str) -> None:
        """Replace the text of the line, truncated to the width of the terminal."""
        if not self.on:
            return
        self._next = time.monotonic() + EVERY
        # a terminal that does not know its size reports 0
        columns = os.get_terminal_size(sys.stderr.fileno()).columns or 80
        text = one_line(text)[: columns - 1]
        if text != self._painted:
            self._painted = text
            self._write(f"\r{text}\x1b[K")

    def clear(self) -> None:
        """Remove the line until the next `show`."""
        if self._painted:
            self._painted = ""
            self._write("\r\x1b[K")

    def end(self) -> None:
        """Remove the line permanently."""
        self.clear()
        self.on = False

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # the terminal was closed
            sys.stderr.write(text)
            sys.stderr.flush()
