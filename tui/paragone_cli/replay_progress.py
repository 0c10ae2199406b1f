"""The progress of a replay on standard error: a line that is updated in place, or a line now and then."""

from __future__ import annotations

import time

from paragone_cli.formats import duration
from paragone_cli.output import note
from paragone_cli.status_line import StatusLine
from paragone_cli.suite_table import STEP
from paragone_workbench.experiments.running.progress import EngineProgress, seconds_left

__all__ = ["ReplayProgress"]


class ReplayProgress:
    """How many runs are repeated. It begins when it is made."""

    def __init__(self, total: int) -> None:
        self._runs = EngineProgress(name="", total=total, began=time.monotonic())
        self._line = StatusLine()
        self._told = 0
        """The percentage that was printed last."""
        self._show()

    def clear(self) -> None:
        """Remove the line until the next run, so that something else can be printed."""
        self._line.clear()

    def repeated(self) -> None:
        """Count a repeated run."""
        self._runs.done += 1
        self._runs.now += 1
        percent = 100 * self._runs.done // self._runs.total
        if self._line.on:
            self._show()
        elif self._runs.left and percent >= self._told + STEP:
            self._told = percent // STEP * STEP
            note(f"{percent}%: {self._text}")

    def end(self) -> None:
        """Remove the line permanently."""
        self._line.end()

    def _show(self) -> None:
        self._line.show(self._text if self._runs.left else "comparing the weights")

    @property
    def _text(self) -> str:
        left = seconds_left([self._runs], at_once=False)
        rest = "" if left is None else f", {duration(left)} left"
        return f"{self._runs.done:,} of {self._runs.total:,} runs{rest}"
