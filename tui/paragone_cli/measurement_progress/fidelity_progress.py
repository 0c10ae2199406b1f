"""The progress of a measurement of fidelity: a bar with the time left."""

from __future__ import annotations

import time

from paragone_cli.command_line.formats import bar, duration
from paragone_cli.command_line.status_line import StatusLine
from paragone_workbench.measure.fidelity.measurement import FidelityStep
from paragone_workbench.measure.free_running import FreeRunningStep


class FidelityProgress(StatusLine):
    """A bar on a status line, with the time left."""

    def __init__(self) -> None:
        super().__init__()
        self._began: float | None = None
        self.show("loading")

    def begin(self, step: FidelityStep) -> None:
        """Show which window of the text is measured now."""
        self._show(step.done, step.total, f"window {step.window} of {step.windows}")

    def answer(self, step: FreeRunningStep) -> None:
        """Show which prompt is answered now."""
        self._show(step.done, step.total, f"greedy answers, prompt {step.prompt} of {step.prompts}")

    def _show(self, done: int, total: int, what: str) -> None:
        now = time.monotonic()
        began = self._began = now if self._began is None or not done else self._began
        text = f"{bar(done, total)} {what}"
        if done:
            text += f" · {duration((now - began) / done * (total - done))} left"
        self.show(text)
