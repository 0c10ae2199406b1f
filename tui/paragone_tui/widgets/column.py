"""Columns of a screen, side by side: as many as fit."""

from __future__ import annotations

from collections.abc import Sequence

from textual.containers import Vertical
from textual.widget import Widget

_NARROWEST = 24
"""Minimum width of a column in cells; if there is less room, only some columns are shown."""


class Column(Vertical):
    """A column, with a line between it and the column at its left."""

    DEFAULT_CSS = """
    Column {
        border-left: vkey $surface-lighten-2;
        &.-first { border-left: none; }
    }
    """


def columns_that_fit(width: int) -> int:
    """Return how many columns fit into `width` cells, at least 1."""
    return max(1, width // _NARROWEST)


def show_columns(columns: Sequence[Column], first: int, count: int) -> int:
    """Show `count` columns from index `first` on, or the last ones if there are not so many. Returns the first index."""
    first = max(0, min(first, len(columns) - count))
    for number, column in enumerate(columns):
        set_shown(column, first <= number < first + count)
        column.set_class(number == first, "-first")
    return first


def set_shown(widget: Widget, shown: bool) -> None:
    """Show or hide a widget. Textual lays out the screen again even if nothing changes."""
    if widget.display != shown:
        widget.display = shown
