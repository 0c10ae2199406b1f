"""The plots of a report: the quality of the engines over their memory and speed, with the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from paragone_workbench.choosing.figures import EngineFigures
from paragone_workbench.experiments.differences.compared_metrics import PASS_RATE
from paragone_workbench.reporting.drawings import Axis, Plot, PlotPoint, Tick, place_between
from paragone_workbench.reporting.label_placement import HEIGHT, Spot, placed
from paragone_workbench.reporting.public_text import public
from paragone_workbench.statistics.intervals import Interval, share_interval

_BYTES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))
_STEPS = (1, 2, 2.5, 5, 10)
_TICKS = 4
"""The largest number of intervals between the ticks of an axis."""
_AIR = 0.12
"""The space on an axis before the first value and after the last, as a share of the range of the values."""


class _Engine(NamedTuple):
    """An engine in a plot: `x` is the engine's memory or speed, `y` the engine's pass rate in percent."""

    name: str
    x: float
    y: float
    interval: Interval


class _Horizontal(NamedTuple):
    """The value on the horizontal axis, over which the pass rate is shown."""

    title: str
    unit: str
    value: Callable[[EngineFigures], float | None]
    better: int
    """1 if more is better, −1 if less is better."""


def plots_of(figures: Sequence[EngineFigures], chosen: str | None) -> tuple[Plot, ...]:
    """Return the plots for which two engines or more have both values. `chosen` is the engine that stands out."""
    known = [engine for engine in figures if engine.pass_rate is not None]
    by_memory = all(engine.memory for engine in known)
    taken = _Horizontal(
        "memory" if by_memory else "size of the weights",
        "bytes",
        lambda engine: engine.memory if by_memory else engine.size,
        -1,
    )
    speed = _Horizontal("decoding speed", "tokens/s", lambda engine: engine.decode_tps, 1)
    return tuple(plot for across in (taken, speed) if (plot := _plot(known, across, chosen)) is not None)


def front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return the indices of the points on the Pareto front, where more is better in both values.

    No other point exceeds a point of the front in one value and at least equals it in the other.
    """
    return [
        index
        for index, (x, y) in enumerate(points)
        if not any(ox >= x and oy >= y and (ox, oy) != (x, y) for ox, oy in points)
    ]


def _plot(known: Sequence[EngineFigures], across: _Horizontal, chosen: str | None) -> Plot | None:
    found = list(_engines(known, across))
    if len(found) < 2:
        return None
    unit = across.unit
    if unit == "bytes":
        most = max(engine.x for engine in found)
        factor, unit = next((scale for scale in _BYTES if most >= scale[0]), (1, "bytes"))
        found = [engine._replace(x=engine.x / factor) for engine in found]
    ends = [end for engine in found for end in (engine.interval.low, engine.interval.high)]
    xs, ys = _Scale.around([engine.x for engine in found]), _Scale.around(ends, most=100.0)
    best = front([(across.better * engine.x, engine.y) for engine in found])
    order = sorted(
        range(len(found)), key=lambda index: (found[index].name != chosen, index not in best, index)
    )
    spots = [Spot(xs.place(engine.x), ys.height(engine.y)) for engine in found]
    labels = dict(
        zip(
            order,
            placed(
                [(public(found[index].name), spots[index]) for index in order],
                sorted(spots[index] for index in best),
            ),
            strict=True,
        )
    )
    points = tuple(
        PlotPoint(
            name=public(engine.name),
            text=f"{engine.x:,.4g} {unit}, {engine.y:.1f}%",
            x=spots[index].x,
            y=spots[index].y,
            low=ys.height(engine.interval.low),
            high=ys.height(engine.interval.high),
            label=labels[index],
            in_front=index in best,
            chosen=engine.name == chosen,
        )
        for index, engine in enumerate(found)
    )
    return Plot(
        title=f"Pass rate over {across.title}",
        note=_note(points, across, all_named=None not in labels.values()),
        x=xs.axis(f"{across.title} ({unit})"),
        y=ys.axis("pass rate (%)"),
        points=points,
        front=tuple(sorted((points[index] for index in best), key=lambda point: point.x)),
    )


def _note(points: Sequence[PlotPoint], across: _Horizontal, *, all_named: bool) -> str:
    direction = "up and to the left" if across.better < 0 else "up and to the right"
    left_out = "" if all_named else " There is no room for some names."
    off = next((point.name for point in points if point.chosen and not point.in_front), None)
    why = (
        ""
        if off is None
        else f" {off} is chosen although it is not on the line: the higher pass rate of another engine may be chance."
    )
    return (
        f"Better is {direction}. The line joins the engines that no other engine matches in both values and exceeds in one."
        f"{why} Vertical lines are 95% intervals.{left_out}"
    )


def _engines(known: Sequence[EngineFigures], across: _Horizontal) -> Iterator[_Engine]:
    for engine in known:
        value, rate = across.value(engine), engine.pass_rate
        if value and math.isfinite(value) and rate is not None and engine.prompts:
            factor, interval = PASS_RATE.factor, share_interval(rate, engine.prompts)
            shown = Interval(low=factor * interval.low, high=factor * interval.high)
            yield _Engine(engine.engine, value, factor * rate, shown)


class _Scale(NamedTuple):
    """The values at the ends of an axis."""

    start: float
    end: float

    @classmethod
    def around(cls, values: Sequence[float], most: float = math.inf) -> _Scale:
        """Return a scale that begins and ends a little outside the values, between 0 and `most`."""
        low, high = min(values), max(values)
        air = _AIR * (high - low) or _AIR * high or 1.0
        return cls(max(0.0, low - air), min(high + air, most))

    def place(self, value: float) -> float:
        """Return where a value is on the axis, from 0 to 100."""
        return place_between(value, self.start, self.end)

    def height(self, value: float) -> float:
        """Return where a value is on the vertical axis, in pixels from the top."""
        return HEIGHT * (1 - self.place(value) / 100)

    def axis(self, title: str) -> Axis:
        """Return the axis, with ticks at round numbers."""
        widest = (self.end - self.start) / _TICKS
        power = 10 ** math.floor(math.log10(widest))
        step = next(step * power for step in _STEPS if step * power >= widest)
        counts = range(math.ceil(self.start / step), math.floor(self.end / step) + 1)
        ticks = (Tick(place=self.place(step * count), text=f"{step * count:,.6g}") for count in counts)
        return Axis(title=title, ticks=tuple(ticks))
