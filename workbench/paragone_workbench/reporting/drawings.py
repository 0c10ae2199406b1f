"""The figures of a report as tables, charts and plots. All texts are safe to show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A value of one engine, as a row of a chart.

    Attributes:
        name: The engine.
        low: The lower end of the value's interval; None if the value has no interval.
        high: The upper end of the interval.
        text: The value with its unit.
        interval: The interval, in words; empty if there is none.
        count: The size of the sample, such as `20 prompts`; may be empty.
    """

    name: str
    value: float
    text: str
    low: float | None = None
    high: float | None = None
    interval: str = ""
    count: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """Values of several engines, drawn as bars beside a table.

    Attributes:
        title: The name of the values.
        note: How to read the values, as sentences.
        figures: The rows.
        start: Value at the left end of the axis.
        end: Value at the right end of the axis.
        mark: `bar`: from the left end to the value; `dot`: at the value, for scales without a zero.
    """

    title: str
    note: str
    figures: tuple[Figure, ...]
    start: float
    end: float
    mark: Literal["bar", "dot"] = "bar"

    def place(self, value: float) -> float:
        """Return where a value is on the axis, from 0 to 100. A value beyond an end is put at that end."""
        return place_between(value, self.start, self.end)


@dataclass(frozen=True, slots=True, kw_only=True)
class TableCell:
    """A value in a table, with a detail such as its interval below it; both may be empty."""

    text: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableLine:
    """A row of a table.

    Attributes:
        name: The subject of the row, such as an engine.
        note: A word or two on the row, such as `reference` or `20 prompts`.
        cells: The values of the row, one for each column.
        stands_out: Whether the row is highlighted.
    """

    name: str
    cells: tuple[TableCell, ...]
    note: str = ""
    stands_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table of values.

    Attributes:
        title: The title of the table; may be empty.
        first: The title of the column with the names of the rows.
        columns: The titles of the other columns.
        lines: The rows.
        note: How to read the table, as sentences.
    """

    title: str = ""
    first: str
    columns: tuple[str, ...]
    lines: tuple[TableLine, ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A number on an axis, and its position from 0 (start) to 100 (end)."""

    place: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """An axis of a plot: its title, with the unit, and its ticks."""

    title: str
    ticks: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class Label:
    """The name that is drawn beside a point.

    Attributes:
        text: The name, shortened if it is long.
        right: Whether the name is to the right of its point, else to the left.
        shift: Pixels by which the name is lower than the point.
    """

    text: str
    right: bool
    shift: int

    @property
    def offset(self) -> int:
        """Pixels from the middle of the point to the nearer end of the name; negative to the left."""
        return 9 if self.right else -9


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotPoint:
    """An engine in a plot.

    Attributes:
        name: The engine.
        text: Both values, with their units.
        x: The position from the left, from 0 to 100.
        y: The position from the top, in pixels, as are `low` and `high`.
        low: The lower end of the interval.
        high: The upper end of the interval.
        label: The name beside the point; None if there is no room for the name.
        in_front: Whether no other engine is better in one value and as good in the other.
        chosen: Whether this is the engine to deploy.
    """

    name: str
    text: str
    x: float
    y: float
    low: float
    high: float
    label: Label | None
    in_front: bool
    chosen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Plot:
    """The quality of engines over another value.

    Attributes:
        title: The titles of the vertical and the horizontal axis, such as `Pass rate over memory`.
        note: How to read the plot, as sentences.
        x: The horizontal axis.
        y: The vertical axis, which begins at the bottom.
        points: The engines.
        front: The points of the Pareto front, from the left.
    """

    title: str
    note: str
    x: Axis
    y: Axis
    points: tuple[PlotPoint, ...]
    front: tuple[PlotPoint, ...]


def place_between(value: float, start: float, end: float) -> float:
    """Return where a value is between `start` and `end`, from 0 to 100. A value beyond an end is put at that end."""
    return max(0.0, min(100.0, 100 * (value - start) / (end - start)))
