"""The interface of observers of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paragone import Caution, Channel
    from paragone_workbench.runs.run import Run


class RunObserver:
    """Receives the events of a run, on the event loop. Override the methods of interest.

    An exception that a method raises goes to the event loop's exception handler; the run continues.
    """

    def run_changed(self, run: Run) -> None:
        """The run's phase, its settings or a figure changed, without new text; `text_came` reports new text."""

    def run_started(self, run: Run) -> None:
        """The request was sent to the engine; the run's manifest is complete."""

    def text_came(self, run: Run, channel: Channel, text: str) -> None:
        """New text of the answer or of the thinking was added to the run, and the figures changed."""

    def cautioned(self, run: Run, caution: Caution) -> None:
        """The run received a warning for the user."""

    def run_ended(self, run: Run) -> None:
        """The run ended; its result is complete."""
