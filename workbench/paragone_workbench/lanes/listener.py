"""Who is told what happens in a lane."""

from __future__ import annotations

from typing import TYPE_CHECKING

from paragone import Caution, Channel, ParagoneError
from paragone_workbench.runs.record import Run

if TYPE_CHECKING:
    from paragone_workbench.lanes.lane import Lane

__all__ = ["LaneListener"]


class LaneListener:
    """Is told what happens in a lane, on the event loop, as it happens. Override what is of interest."""

    def state_changed(self, lane: Lane) -> None:
        """The lane's state or one of its figures is another."""

    def prompted(self, lane: Lane, run: Run) -> None:
        """A prompt was given to the lane; it may have to wait."""

    def run_started(self, lane: Lane, run: Run) -> None:
        """The engine has been given the prompt; the run's manifest is known."""

    def text_came(self, lane: Lane, run: Run, channel: Channel, text: str) -> None:
        """A piece of the answer, or of the thoughts before it."""

    def cautioned(self, lane: Lane, caution: Caution) -> None:
        """Something the user should know, of the model or of the run."""

    def run_ended(self, lane: Lane, run: Run) -> None:
        """The run is over, however it ended; its metrics are known."""

    def engine_failed(self, lane: Lane, error: ParagoneError) -> None:
        """The engine could not be opened."""
