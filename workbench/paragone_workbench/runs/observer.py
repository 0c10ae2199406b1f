"""Who is told what happens in a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paragone import Caution, Channel

if TYPE_CHECKING:
    from paragone_workbench.runs.record import RunRecord

__all__ = ["RunObserver"]


class RunObserver:
    """Is told what happens in a run, on the event loop, as it happens. Override what is of interest.

    An exception of an observer goes to the event loop's exception handler; the run goes on.
    """

    def run_changed(self, run: RunRecord) -> None:
        """The run's phase or one of its figures changed."""

    def run_started(self, run: RunRecord) -> None:
        """The engine has the request; the run's manifest is known."""

    def text_came(self, run: RunRecord, channel: Channel, text: str) -> None:
        """Text of the answer, or of the thinking before it, came and is in the record."""

    def cautioned(self, run: RunRecord, caution: Caution) -> None:
        """Something that the user should know of the run."""

    def run_ended(self, run: RunRecord) -> None:
        """The run is over; its record is complete."""
