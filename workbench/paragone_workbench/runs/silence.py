"""Notice that an engine sends nothing during a run."""

from __future__ import annotations

import asyncio
import time

from paragone_workbench.runs.run import Run

NOTICE_S = 3
"""Seconds that a server may send nothing before its run reports the silence."""
NOTICE_LOCAL_S = 10
"""Seconds that an engine without a server may send nothing: it may compute for long before it sends its progress."""


class SilenceWatch:
    """Sets `silent_s` of a run, once a second while the engine is silent. Use a watch on the event loop."""

    def __init__(self, run: Run, notice_s: float) -> None:
        """Watch a run, and report silences of `notice_s` seconds or more."""
        self._run = run
        self._notice_s = notice_s
        self._last = time.monotonic()
        self._loop = asyncio.get_running_loop()
        self._timer = self._loop.call_later(notice_s, self._check)

    def note_event(self) -> None:
        self._last = time.monotonic()
        if self._run.silent_s:
            self._run.silent_s = 0
            self._run.changed()

    def end(self) -> None:
        self._timer.cancel()
        self._run.silent_s = 0

    def _check(self) -> None:
        passed = time.monotonic() - self._last
        if passed >= self._notice_s:
            self._run.silent_s = int(passed)
            self._run.changed()
        next_s = 1 - passed % 1 if passed >= self._notice_s else self._notice_s - passed
        self._timer = self._loop.call_later(next_s, self._check)
