"""Determines which commands have an effect at present, and which lanes accept no prompt."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from paragone_workbench.lanes.lane import LaneObserver

if TYPE_CHECKING:
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.lanes.session import Session

_STOPPING = frozenset({"stop", "stop-lane"})
_AMONG_LANES = frozenset({"next-lane", "previous-lane next-lane", "zoom"})
_ON_ANSWERS = frozenset({"regenerate", "copy-answer", "previous-variant next-variant"})


def can_stop(session: Session) -> bool:
    """Return whether there are answers or loading engines that the command `stop` could stop."""
    # An engine is open shortly before `is_opening` becomes False.
    opening = any(lane.engine.is_opening and not lane.engine.is_open for lane in session.lanes)
    return session.is_busy or opening


class Readiness(LaneObserver):
    """Observes all lanes of a session, and calls `show` when `idle` or `silent` has changed."""

    def __init__(self, session: Session, show: Callable[[], object]) -> None:
        self._session = session
        self._show = show
        self.idle: frozenset[str] = _STOPPING
        """The commands that would do nothing at present, by their names in `foot.py`."""
        self.silent: tuple[str, ...] = ()
        """The names of the lanes that accept no prompt, because their engines have failed or ended."""

    def check(self) -> None:
        """Determine `idle` and `silent` again."""
        session = self._session
        idle: frozenset[str] = frozenset()
        if not can_stop(session):
            idle |= _STOPPING
        if len(session.lanes) < 2:
            idle |= _AMONG_LANES
        if not session.prompts:
            idle |= _ON_ANSWERS
        silent = tuple(
            lane.name
            for lane in session.lanes
            if lane.engine.state in ("failed", "crashed", "stopped") and not session.can_answer(lane)
        )
        if (idle, silent) != (self.idle, self.silent):
            self.idle, self.silent = idle, silent
            self._show()

    def state_changed(self, lane: Lane) -> None:
        """Check after a new state of a lane, such as a new run or a failed engine, but not after each token."""
        if not lane.is_busy or lane.state not in ("writing", "reading"):
            self.check()
