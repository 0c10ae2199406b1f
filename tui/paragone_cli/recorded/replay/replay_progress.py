"""The progress of a replay on standard error: a line that is updated in place, or a line now and then."""

from __future__ import annotations

import time

from paragone_cli.command_line.formats import duration
from paragone_cli.command_line.output import note
from paragone_cli.command_line.status_line import StatusLine
from paragone_workbench.experiments.running.progress import EngineProgress, seconds_left

__all__ = ["ReplayProgress"]


class ReplayProgress(StatusLine):
    """How many runs are repeated. It begins when it is made."""

    def __init__(self, total: int) -> None:
        super().__init__()
        self._runs = EngineProgress(name="", total=total, began=time.monotonic())
        self._update()

    def repeated(self) -> None:
        """Count a repeated run."""
        self._runs.done += 1
        self._runs.now += 1
        percent = 100 * self._runs.done // self._runs.total
        if self.on:
            self._update()
        elif self._runs.left and self.passes_step(percent):
            note(f"{percent}%: {self._text}")

    def _update(self) -> None:
        self.show(self._text if self._runs.left else "comparing the weights")

    @property
    def _text(self) -> str:
        left = seconds_left([self._runs], at_once=False)
        rest = "" if left is None else f", {duration(left)} left"
        return f"{self._runs.done:,} of {self._runs.total:,} runs{rest}"
