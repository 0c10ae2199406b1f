"""Tables, charts and remarks: results for the command line, the screen and reports.

Texts can be shared: `public` removes secrets, and `brief_names` shortens names of engines.

"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from paragone.texts import without_keys
from paragone_workbench.text import local_date, visible

_LONG = 24
_SEPARATORS = " .-:/@"


def public(text: str) -> str:
    """Return a text that can be shared: without passwords in URLs, the home folder and control characters."""
    home = str(Path.home())
    if home != "/":
        text = re.sub(rf"(?<![\w.~/-]){re.escape(home)}(?![\w.-])", "~", text)
    return visible(without_keys(text))


def date_text(seconds: float) -> str:
    """Return a time, in seconds since 1970, as local date and time with the offset from UTC; `?` if the time is invalid."""
    return local_date(seconds, "%Y-%m-%d %H:%M %z")


def brief_names(names: Iterable[str]) -> Mapping[str, str]:
    """Return brief names of engines: `Llama-8B-Instruct.Q8_0.gguf` becomes `Q8_0` beside `Llama-8B-Instruct.Q4_0.gguf`.
    Names stay whole if all are short, or if their common beginning or end is itself one of the names."""
    whole = {name: name for name in names}
    if len(whole) < 2 or max(map(len, whole)) <= _LONG:
        return whole
    head, tail = _shared([*whole]), _shared([name[::-1] for name in whole])
    if head in whole or tail[::-1] in whole:
        return whole
    brief = {name: name[_words(head) : len(name) - _words(tail)] for name in whole}
    return brief if all(brief.values()) and len(set(brief.values())) == len(whole) else whole


def briefly(message: str, brief: Mapping[str, str]) -> str:
    """Return a text with brief names in place of whole names."""
    longest_first = sorted(brief, key=len, reverse=True)
    pattern = "|".join(map(re.escape, longest_first))
    return re.sub(pattern, lambda found: brief[found[0]], message) if pattern else message


def _words(shared: str) -> int:
    """Return the number of characters up to the end of the last whole word."""
    return max((shared.rfind(separator) + 1 for separator in _SEPARATORS), default=0)


def _shared(names: Sequence[str]) -> str:
    first, last = min(names), max(names)
    pairs = enumerate(zip(first, last, strict=False))
    return first[: next((at for at, (one, other) in pairs if one != other), len(first))]


_STEPS = (1, 2, 2.5, 5, 10)
_TICKS = 4


class Remark(NamedTuple):
    """A remark about a result. `stands_out`: whether it reports a difference or a failure."""

    text: str
    stands_out: bool = False


class Axis(NamedTuple):
    start: float
    end: float
    title: str = ""

    def place(self, value: float) -> float:
        """Return the position of a value on the axis, from 0 to 100. A value beyond an end is placed at that end."""
        return round(max(0.0, min(100.0, 100 * (value - self.start) / (self.end - self.start))), 2)

    @property
    def ticks(self) -> list[tuple[float, str]]:
        widest = (self.end - self.start) / _TICKS
        power = 10 ** math.floor(math.log10(widest))
        step = next(step * power for step in _STEPS if step * power >= widest)
        counts = range(math.ceil(self.start / step), math.floor(self.end / step) + 1)
        return [(self.place(step * count), f"{step * count:,.6g}") for count in counts]


class ChartMark(NamedTuple):
    """A value in a chart, and the ends of its interval, in percent from the left and the top. A ring is an empty dot."""

    kind: Literal["bar", "dot", "ring"]
    x: float
    y: float
    ends: tuple[tuple[float, float], tuple[float, float]] | None = None


class TableCell(NamedTuple):
    text: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableLine:
    """A row of a table, with a cell for each column. `note` is a word or two, such as `reference` or `20 prompts`."""

    name: str
    cells: tuple[TableCell, ...]
    note: str = ""
    stands_out: bool = False
    mark: ChartMark | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """A table. The marks of its rows are drawn: each in its row or, with two axes, all in one plot. A table that is
    wider than the terminal is printed in parts, each with the first `naming` columns, which include the name; 0
    for a single part."""

    title: str = ""
    first: str = "engine"
    columns: tuple[str, ...]
    lines: tuple[TableLine, ...]
    note: str = ""
    axes: tuple[Axis, Axis] | None = None
    naming: int = 0

    @property
    def is_chart(self) -> bool:
        return self.axes is None and any(line.mark is not None for line in self.lines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Section:
    """Results of one kind. `rest` has further remarks, which are folded; a folded section is at the end of the report. `about`
    describes the measurement, without a full stop.

    """

    title: str
    about: str = ""
    tables: tuple[Table, ...] = ()
    remarks: tuple[Remark, ...] = ()
    rest: tuple[Remark, ...] = ()
    note: str = ""
    folded: bool = False

    @property
    def is_empty(self) -> bool:
        return not (self.tables or self.remarks or self.rest)


class Figure(NamedTuple):
    """A value of one engine, as a row of a chart. `sample` is its size, such as `20 prompts`."""

    name: str
    value: float
    text: str
    ends: tuple[float, float] | None = None
    interval: str = ""
    sample: str = ""
    more: str = ""


def chart(
    title: str,
    note: str,
    figures: Sequence[Figure],
    axis: Axis | None = None,
    *,
    titles: Sequence[str] = ("Value", "95% interval", "Measured on", ""),
) -> Table:
    """Return a table with a chart in each row: bars from 0, or dots if `axis` does not begin at 0."""
    if axis is None:
        axis = Axis(0.0, max(0.0, *(end for it in figures for end in (it.value, *(it.ends or ())))) or 1.0)

    def mark(figure: Figure) -> ChartMark:
        ends = figure.ends and ((axis.place(figure.ends[0]), 50.0), (axis.place(figure.ends[1]), 50.0))
        return ChartMark("dot" if axis.start else "bar", axis.place(figure.value), 50.0, ends)

    rows = [(it.text, it.interval, it.sample, it.more) for it in figures]
    shown = [column for column in range(4) if any(row[column] for row in rows)]
    return Table(
        title=title,
        first="Engine",
        note=note,
        columns=tuple(titles[column] for column in shown),
        lines=tuple(
            TableLine(
                name=public(figure.name),
                cells=tuple(TableCell(row[column]) for column in shown),
                mark=mark(figure),
            )
            for figure, row in zip(figures, rows, strict=True)
        ),
    )
