"""The interface of observers of a lane."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paragone import Caution, Channel, ParagoneError
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.runs.run import Run

__all__ = ["LaneObserver"]


class LaneObserver:
    """Receives the events of a lane, on the event loop. Override the methods of interest.

    An exception that a method raises goes to the event loop's exception handler; the lane continues.
    """

    def state_changed(self, lane: Lane) -> None:
        """The lane's state or one of its figures changed."""

    def prompted(self, lane: Lane, run: Run) -> None:
        """A run became the lane's current one. It may still wait for the engine or for its turn."""

    def run_started(self, lane: Lane, run: Run) -> None:
        """The request was sent to the engine; the run's manifest is complete."""

    def text_came(self, lane: Lane, run: Run, channel: Channel, text: str) -> None:
        """Text of the answer or of the thinking arrived and was added to the record."""

    def cautioned(self, lane: Lane, caution: Caution) -> None:
        """A warning for the user arrived, about the model or the run."""

    def run_ended(self, lane: Lane, run: Run) -> None:
        """A run ended; its record is complete."""

    def engine_failed(self, lane: Lane, error: ParagoneError) -> None:
        """The engine could not be opened."""
