"""Status lines on standard error, if it is a terminal."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from typing import Self

from paragone_cli.command_line.output import one_line, shortened

EVERY = 0.1
"""Minimum seconds between two updates."""

_STEP = 10
"""Percentage points of progress from one printed line to the next, if standard error is not a terminal."""


class StatusLine:
    """Lines of text that are updated in place. The class prints nothing if standard error is not a terminal.

    A context manager; the text is removed at the end of the block.
    """

    def __init__(self) -> None:
        self.on = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._painted: list[str] = []
        self._next = 0.0
        self._step_done: int | None = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.end()

    @property
    def due(self) -> bool:
        """Whether enough time has passed since the last update."""
        return self.on and time.monotonic() >= self._next

    def count_from(self, percent: int | None) -> None:
        """Count steps from this percentage on. None: count no steps."""
        self._step_done = None if percent is None else percent // _STEP * _STEP

    def passes_step(self, percent: int) -> bool:
        """Return whether to print a line: standard error is no terminal, and ten percent more are done."""
        if self.on or self._step_done is None or percent < self._step_done + _STEP:
            return False
        self.count_from(percent)
        return True

    def show(self, *lines: str) -> None:
        """Replace the text, cut to the size of the terminal."""
        if not self.on:
            return
        self._next = time.monotonic() + EVERY
        # a terminal that does not know its size reports 0
        size = os.get_terminal_size(sys.stderr.fileno())
        width, height = size.columns or 80, size.lines or 24
        cut = [shortened(one_line(line), width - 1) for line in lines][: height - 1]
        if cut != self._painted:
            rest = "\x1b[J" if len(cut) < len(self._painted) else ""
            self._write(self._top + "\n".join(f"{line}\x1b[K" for line in cut) + rest)
            self._painted = cut

    def clear(self) -> None:
        """Remove the text until the next `show`."""
        if self._painted:
            self._write(f"{self._top}\x1b[{'J' if len(self._painted) > 1 else 'K'}")
            self._painted = []

    @property
    def _top(self) -> str:
        """The sequence that moves the cursor to the start of the first line."""
        below = len(self._painted) - 1
        return f"\x1b[{below}A\r" if below > 0 else "\r"

    def end(self) -> None:
        """Remove the text permanently."""
        self.clear()
        self.on = False

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # the terminal was closed
            sys.stderr.write(text)
            sys.stderr.flush()
