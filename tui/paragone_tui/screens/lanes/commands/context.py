"""What all commands of the lanes use."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paragone_tui.program import Do, Say, Show
    from paragone_tui.screens.lanes.column import LaneColumn
    from paragone_tui.screens.lanes.lanes import Lanes
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.lanes.session import Session

__all__ = ["LanesContext"]


@dataclass(frozen=True, slots=True, kw_only=True)
class LanesContext:
    """The lanes, how to show something, and the reasons for which several commands do nothing."""

    session: Session
    lanes: Lanes
    say: Say
    show: Show
    show_keys: Callable[[], None]
    """Shows the line of key hints anew, after a change of what it names."""
    do: Do

    def key_of(self, command: str) -> str:
        """Return the first key that a command has in the present mode, in short notation."""
        return self.lanes.key_of(command)

    def current_or_say(self) -> LaneColumn | None:
        """Return the current lane's column. If there is none, show a message and return None."""
        if self.lanes.current is None:
            self.say(f"There is no lane; {self.key_of('add-lane')} adds one.")
        return self.lanes.current

    def is_answering(self, lanes: Iterable[Lane]) -> bool:
        """Return whether one of these lanes is busy; show a message if so."""
        busy = any(lane.is_busy for lane in lanes)
        if busy:
            self.say(f"An answer is still being generated; {self.key_of('stop')} stops it.")
        return busy

    def lane_is_answering(self, lane: Lane) -> bool:
        """Return whether a lane is busy; show a message if so."""
        if lane.is_busy:
            self.say(f"This lane is still answering; {self.key_of('stop-lane')} stops it.")
        return lane.is_busy
