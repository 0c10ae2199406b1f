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
        """The run's phase or its settings changed, or one of its figures without text that `text_came` tells."""

    def run_started(self, run: Run) -> None:
        """The request was sent to the engine; the run's manifest is complete."""

    def text_came(self, run: Run, channel: Channel, text: str) -> None:
        """Text of the answer or of the thinking arrived and was added to the record; the figures changed with it."""

    def cautioned(self, run: Run, caution: Caution) -> None:
        """A warning for the user about the run."""

    def run_ended(self, run: Run) -> None:
        """The run ended; its record is complete."""
