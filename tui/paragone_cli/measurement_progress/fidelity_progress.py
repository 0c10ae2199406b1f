"""The progress of a measurement of fidelity: a bar with the time left."""

from __future__ import annotations

import time

from paragone_cli.command_line.formats import bar, duration
from paragone_cli.command_line.status_line import StatusLine
from paragone_workbench.measure.fidelity.measurement import FidelityStep


class FidelityProgress(StatusLine):
    """A bar on a status line, with the time left."""

    def __init__(self) -> None:
        super().__init__()
        self._began: float | None = None
        self.show("loading")

    def begin(self, step: FidelityStep) -> None:
        """Show a step that begins."""
        now = time.monotonic()
        began = self._began = now if self._began is None else self._began
        text = f"{bar(step.done, step.total)} window {step.window} of {step.windows}"
        if step.done:
            left = (now - began) / step.done * (step.total - step.done)
            text += f" · {duration(left)} left"
        self.show(text)
