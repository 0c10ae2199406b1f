"""The figures of a report as tables, charts and plots. All texts are safe to show."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A value of one engine, as a row of a chart.

    Attributes:
        name: The engine.
        value: The value.
        low: The lower end of its interval; None if there is none.
        high: The upper end.
        text: The value with its unit.
        interval: The interval, in words; empty if there is none.
        count: What it was measured on, such as `20 prompts`; may be empty.
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
        title: What the values are.
        note: How to read them, as sentences.
        figures: The rows.
        start: Value at the left end of the axis.
        end: Value at the right end.
        mark: `bar`: from the left end to the value; `dot`: at the value, for scales without a zero.
    """

    title: str
    note: str
    figures: tuple[Figure, ...]
    start: float
    end: float
    mark: Literal["bar", "dot"] = "bar"

    def place(self, value: float) -> float:
        """Return where a value is on the axis, from 0 to 100; values beyond its ends are put there."""
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
        name: What the row is about.
        note: A word or two on it, such as `reference`, or its number of prompts.
        cells: Its values, one for each column.
        stands_out: Whether it is the row to look at.
    """

    name: str
    cells: tuple[TableCell, ...]
    note: str = ""
    stands_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Values of several kinds, or of several engines.

    Attributes:
        title: What the table shows; may be empty.
        first: The title of the column with the names of the rows.
        columns: The titles of the other columns.
        lines: The rows.
        note: How to read it, as sentences.
    """

    title: str = ""
    first: str
    columns: tuple[str, ...]
    lines: tuple[TableLine, ...]
    note: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """A number on an axis, and its place from 0 (start) to 100 (end)."""

    place: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """An axis of a plot: what it shows, with the unit, and its ticks."""

    title: str
    ticks: tuple[Tick, ...]


@dataclass(frozen=True, slots=True)
class Label:
    """The name of a point beside it.

    Attributes:
        text: The name, shortened if it is long.
        right: Whether it is to the right of its point, else to the left.
        shift: Pixels by which it is lower than the point.
    """

    text: str
    right: bool
    shift: int

    @property
    def offset(self) -> int:
        """Pixels from the middle of the point to the nearer end of the name, to the right."""
        return 9 if self.right else -9


@dataclass(frozen=True, slots=True, kw_only=True)
class PlotPoint:
    """An engine in a plot.

    Attributes:
        name: The engine.
        text: Both values, with their units.
        x: The place from the left, from 0 to 100.
        y: The place from the top in pixels, as are `low` and `high`.
        low: The lower end of the interval.
        high: Its upper end.
        label: The name beside the point; None if there is no room for it.
        in_front: Whether no other engine is better in one value and as good in the other.
        chosen: Whether it is the engine to deploy.
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
        title: What is shown over what.
        note: How to read it, as sentences, with the names of the front.
        x: The horizontal axis.
        y: The vertical axis, from the bottom.
        points: The engines.
        front: The points of the front, from the left.
    """

    title: str
    note: str
    x: Axis
    y: Axis
    points: tuple[PlotPoint, ...]
    front: tuple[PlotPoint, ...]


def place_between(value: float, start: float, end: float) -> float:
    """Return where a value is between two others, from 0 to 100; values beyond them are put there."""
    return max(0.0, min(100.0, 100 * (value - start) / (end - start)))
