"""Counts the conditions that differed between the lanes, each time that all answers have ended."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paragone_workbench.lanes.lane import LaneObserver

if TYPE_CHECKING:
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.lanes.session import Session
    from paragone_workbench.runs.run import Run


@dataclass(eq=False)
class ParityMarks(LaneObserver):
    """Checks the parity of a session's lanes whenever their answers have ended."""

    session: Session
    show: Callable[[Collection[str], int], None]
    """Called with the names of the compared lanes and the number of differences."""

    def check(self) -> None:
        """Check the parity of the answers, unless some answers are still in progress."""
        if self.session.is_busy:
            return
        if len(self.session.lanes) < 2 or not self.session.prompts:
            self.show((), 0)
            return
        from paragone_tui.screens.parity.sides import answered_sides  # not needed at start
        from paragone_workbench.compare.parity.check import check_parity

        sides = answered_sides(self.session)
        self.show({side.name for side in sides}, check_parity(sides).alarms)

    def prompted(self, lane: Lane, run: Run) -> None:
        """Remove the marks, which belong to earlier answers."""
        self.show((), 0)

    def run_ended(self, lane: Lane, run: Run) -> None:
        """Check the parity of the answers once all answers have ended."""
        self.check()
