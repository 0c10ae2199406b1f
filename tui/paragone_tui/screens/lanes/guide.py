"""The guide for an empty conversation: advice, three keys, and the meanings of the signs on the screen."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from textual.content import Content
from textual.widgets import Static

from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.column import set_shown
from paragone_workbench.lanes.lane import LaneObserver

if TYPE_CHECKING:
    from paragone import ParagoneError
    from paragone_tui.screens.lanes.column import LaneColumn
    from paragone_workbench.lanes.lane import Lane
    from paragone_workbench.runs.run import Run

_LOWEST = 9
"""Least height of the lanes, in rows, in which the guide is shown."""
_NAMED = 30
"""Longest engine name, in characters, that the guide shows. If a name is longer, the guide shows the number of engines."""
_ONE = (("add-lane", "add a lane beside it"), ("reopen", "earlier conversations"), ("help", "all keys"))
_SEVERAL = (("divergence", "where they part"), ("parity", "is it fair?"), ("blind-vote", "vote blind"))
"""The commands that the guide shows for one lane and for several lanes, each with its effect."""
_SIGNS = (
    ("▸", "current lane"),
    ("◆", "reference"),
    ("≠", "conditions differ"),
    ("·", "remark"),
)


class Guide(Static, LaneObserver):
    """Covers the lanes below their headers until a lane has content."""

    DEFAULT_CSS = """
    Guide {
        layer: guide; width: 100%; height: 1fr; margin: 3 0 0 0; padding: 0 2; background: $background;
        content-align: center middle; text-align: center; display: none;
    }
    """

    def __init__(self, key_of: Callable[[str], str]) -> None:
        """Create the guide. `key_of` returns the key of a command in the present mode."""
        super().__init__(id="guide", markup=False)
        self._key_of = key_of
        self._columns: Sequence[LaneColumn] = ()
        self._shown_text = Content()

    def show_for(self, columns: Sequence[LaneColumn]) -> None:
        """Show the guide for these lanes if the conversation is empty."""
        self._columns = columns
        self._check()

    def prompted(self, lane: Lane, run: Run) -> None:
        """Hide the guide, because a conversation begins."""
        self._check()

    def engine_failed(self, lane: Lane, error: ParagoneError) -> None:
        """Hide the guide, because a lane shows an error."""
        self._check()

    def _check(self) -> None:
        is_empty = not any(column.transcript.blocks for column in self._columns)
        has_room = self.parent is not None and self.screen.size.height - 3 >= _LOWEST
        set_shown(self, bool(self._columns) and is_empty and has_room)
        if self.display and (text := self._text()) != self._shown_text:
            self._shown_text = text
            self.update(text)

    def _text(self) -> Content:
        several = len(self._columns) > 1
        keys = [(self._key_of(command), about) for command, about in (_SEVERAL if several else _ONE)]
        lines = [
            Content.assemble((self._names(), "bold"), " answer side by side." if several else " answers."),
            Content("Type a prompt."),
            Content(""),
            _row(keys),
        ]
        if several:
            lines += [Content(""), Content.styled(_row(_SIGNS).plain, "$text-muted")]
        return Content("\n").join(lines)

    def _names(self) -> str:
        names = [one_line(column.lane.name) for column in self._columns]
        if len(names) > 2 or max(map(len, names)) > _NAMED:
            return f"{len(names)} engines" if len(names) > 1 else "The engine"
        return " and ".join(names)


def _row(pairs: Sequence[tuple[str, str]]) -> Content:
    return Content("    ").join(Content.assemble((sign, "bold"), f" {about}") for sign, about in pairs)
