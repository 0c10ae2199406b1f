"""Columns of a screen, side by side, as many as fit into its width."""

from __future__ import annotations

from collections.abc import Sequence

from textual.containers import Vertical
from textual.widget import Widget

_NARROWEST = 24
"""Minimum width of a column in cells. If the columns would be narrower, only some columns are shown."""


class Column(Vertical):
    """A column of a screen, with a line at its left edge, except in the first column."""

    DEFAULT_CSS = """
    Column {
        border-left: vkey $surface-lighten-2;
        &.-first { border-left: none; }
    }
    """


def columns_that_fit(width: int) -> int:
    """Return how many columns fit into a width in cells, but at least 1."""
    return max(1, width // _NARROWEST)


def show_columns(columns: Sequence[Column], first: int, count: int) -> int:
    """Show `count` columns from index `first` on, or the last `count` if fewer follow. Returns the first shown index."""
    first = max(0, min(first, len(columns) - count))
    for number, column in enumerate(columns):
        set_shown(column, first <= number < first + count)
        column.set_class(number == first, "-first")
    return first


def set_shown(widget: Widget, shown: bool) -> None:
    """Show or hide a widget. Do nothing if nothing changes, since Textual would lay out the screen again."""
    if widget.display != shown:
        widget.display = shown
