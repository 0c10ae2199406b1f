"""What engines are about before there is anything to print."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType

from paragone_tui.cli.status_line import StatusLine
from paragone_workbench.lanes.lane import Lane, LaneListener

__all__ = ["Progress"]


class Progress(LaneListener):
    """A status line that says how far loading, reading and writing are; gone when it is left."""

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._lanes = lanes
        self._line = StatusLine()

    def __enter__(self) -> Progress:
        if self._line.on:
            for lane in self._lanes:
                lane.listeners.append(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()

    def state_changed(self, lane: Lane) -> None:
        """Paint, unless that was done a moment ago."""
        if self._line.due:
            if len(self._lanes) == 1:
                self._line.show(_doing(lane))
            else:
                self._line.show(" · ".join(f"{it.definition.name}: {_doing(it)}" for it in self._lanes))

    def clear(self) -> None:
        """Take the line away until the next change: something else is to be printed."""
        self._line.clear()

    def end(self) -> None:
        """Take the line away for good."""
        self._line.end()


def _doing(lane: Lane) -> str:
    match lane.state:
        case "loading" if lane.load_fraction is not None:
            return f"loading {lane.load_fraction:.0%}"
        case "reading" if lane.progress is not None and lane.progress.total:
            return f"reading the prompt {lane.progress.done / lane.progress.total:.0%}"
        case "writing" if lane.run is not None and lane.meter is not None:
            thinks = bool(lane.run.thinking) and not lane.run.text
            return f"{'thinking' if thinks else 'writing'}, {lane.meter.tokens} tokens"
    return lane.state
