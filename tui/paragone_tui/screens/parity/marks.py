"""Counts what differed between the lanes, each time that their answers have ended."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TYPE_CHECKING

from paragone_workbench.lanes.lane import LaneObserver

if TYPE_CHECKING:
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.lanes.session import Session
    from paragone_workbench.runs.run import Run

__all__ = ["ParityMarks"]


class ParityMarks(LaneObserver):
    """Observes all lanes of a session."""

    def __init__(self, session: Session, show: Callable[[Collection[str], int], None]) -> None:
        """Create it. `show` is called with the names of the compared lanes and the number of differences."""
        self._session = session
        self._show = show

    def check(self) -> None:
        """Compare the answers, unless some are still in progress."""
        if self._session.is_busy:
            return
        if len(self._session.lanes) < 2 or not self._session.prompts:
            self._show((), 0)
            return
        from paragone_tui.screens.parity.sides import answered_sides  # not needed at start
        from paragone_workbench.compare.parity.check import check_parity

        sides = answered_sides(self._session)
        self._show({side.name for side in sides}, len(check_parity(sides).findings))

    def prompted(self, lane: Lane, run: Run) -> None:
        """Remove the marks: they belong to earlier answers."""
        self._show((), 0)

    def run_ended(self, lane: Lane, run: Run) -> None:
        """Compare the answers once all have ended."""
        self.check()
