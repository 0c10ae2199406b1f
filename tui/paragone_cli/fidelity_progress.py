"""The progress of a fidelity measurement: a bar on standard error, with the time left."""

from __future__ import annotations

import time
from types import TracebackType

from paragone_cli.formats import bar, duration
from paragone_cli.status_line import StatusLine
from paragone_workbench.compare.fidelity import Step

__all__ = ["FidelityProgress"]


class FidelityProgress:
    """A context manager; the line is removed at the end of the block."""

    def __init__(self) -> None:
        self._line = StatusLine()
        self._began: float | None = None

    def __enter__(self) -> FidelityProgress:
        self._line.show("loading")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._line.end()

    def show(self, step: Step) -> None:
        """Show a step that begins."""
        now = time.monotonic()
        began = self._began = now if self._began is None else self._began
        text = f"{bar(step.done, step.total)} window {step.window} of {step.windows}"
        if step.done:
            left = (now - began) / step.done * (step.total - step.done)
            text += f" · {duration(left)} left"
        self._line.show(text)
