"""Who is told what happens in a lane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paragone import Caution, Channel, ParagoneError
from paragone_workbench.runs.record import RunRecord

if TYPE_CHECKING:
    from paragone_workbench.lanes.lane import Lane

__all__ = ["LaneObserver"]


class LaneObserver:
    """Is told what happens in a lane, on the event loop, as it happens. Override what is of interest.

    An exception of an observer goes to the event loop's exception handler; the lane goes on.
    """

    def state_changed(self, lane: Lane) -> None:
        """The lane's state or one of its figures changed."""

    def prompted(self, lane: Lane, run: RunRecord) -> None:
        """A run is the lane's present one; it may still wait for the engine or for its turn."""

    def run_started(self, lane: Lane, run: RunRecord) -> None:
        """The engine has the request; the run's manifest is known."""

    def text_came(self, lane: Lane, run: RunRecord, channel: Channel, text: str) -> None:
        """Text of the answer, or of the thinking before it, came and is in the record."""

    def cautioned(self, lane: Lane, caution: Caution) -> None:
        """Something that the user should know, of the model or of the run."""

    def run_ended(self, lane: Lane, run: RunRecord) -> None:
        """A run is over; its record is complete."""

    def engine_failed(self, lane: Lane, error: ParagoneError) -> None:
        """The engine could not be opened."""
