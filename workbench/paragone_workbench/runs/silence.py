"""Notices that a server sends nothing during a run."""

from __future__ import annotations

import asyncio
import time

from paragone_workbench.runs.run import Run

NOTICE_S = 3
"""Seconds of silence from which on a run says so."""


class SilenceWatch:
    """Sets `silent_s` of a run, once a second while its engine is silent. Use it on the event loop."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._last = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(NOTICE_S, self._look)

    def note_event(self) -> None:
        """Note that the engine sent an event."""
        self._last = time.monotonic()
        if self._run.silent_s:
            self._run.silent_s = 0
            self._run.changed()

    def end(self) -> None:
        """Stop watching: the run has ended."""
        self._timer.cancel()
        self._run.silent_s = 0

    def _look(self) -> None:
        passed = time.monotonic() - self._last
        if passed >= NOTICE_S:
            self._run.silent_s = int(passed)
            self._run.changed()
        next_s = 1 - passed % 1 if passed >= NOTICE_S else NOTICE_S - passed
        self._timer = self._loop.call_later(next_s, self._look)
