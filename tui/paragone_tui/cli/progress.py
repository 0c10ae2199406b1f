"""What engines are about before there is anything to print: one line on a terminal's standard error."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from types import TracebackType

from paragone_tui.cli.output import line
from paragone_workbench.lane import Lane, LaneListener

__all__ = ["Progress"]

EVERY = 0.1
"""Seconds between two paintings."""


class Progress(LaneListener):
    """A line that says how far loading, reading and writing are; gone when it is left. Silent elsewhere than on a terminal."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes
        self._on = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._painted = ""
        self._next = 0.0

    def __enter__(self) -> Progress:
        if self._on:
            for lane in self._lanes:
                lane.listeners.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def state_changed(self, lane: Lane) -> None:
        """Paint, unless that was done a moment ago."""
        now = time.monotonic()
        if self._on and now >= self._next:
            self._next = now + EVERY
            self._paint()

    def clear(self) -> None:
        """Take the line away until the next change: something else is to be printed."""
        if self._painted:
            self._painted = ""
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()

    def end(self) -> None:
        """Take the line away for good."""
        self.clear()
        self._on = False

    def _paint(self) -> None:
        if len(self._lanes) == 1:
            text = _doing(self._lanes[0])
        else:
            text = " · ".join(f"{lane.definition.name}: {_doing(lane)}" for lane in self._lanes)
        text = line(text)[: os.get_terminal_size(sys.stderr.fileno()).columns - 1]
        if text != self._painted:
            self._painted = text
            sys.stderr.write(f"\r{text}\x1b[K")
            sys.stderr.flush()


def _doing(lane: Lane) -> str:
    match lane.state:
        case "loading" if lane.load_fraction is not None:
            return f"loading {lane.load_fraction:.0%}"
        case "reading" if lane.progress is not None and lane.progress.total:
            return f"reading the prompt {lane.progress.done / lane.progress.total:.0%}"
        case "writing" if lane.run is not None and lane.meter is not None:
            thinks = bool(lane.run.thinking) and not lane.run.text
            return f"{'thinking' if thinks else 'writing'}, {lane.meter.tokens} tokens"
    return lane.state
