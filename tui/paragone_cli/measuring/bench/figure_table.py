"""Formats figures, and prints tables of figures: in several parts if the terminal is narrow."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from paragone_cli.command_line.output import cells, put, standard_output, table_lines, terminal_width
from paragone_workbench.measure.bench.spread import Distribution, Spread

_NAMING = 3
"""Columns that name the engine and the test, before the columns with figures."""


def put_figures(table: Sequence[Sequence[str]]) -> None:
    """Print a table, on a terminal in parts that fit in its width, each with the columns that name the test."""
    room = terminal_width() if standard_output().isatty() else sys.maxsize
    begin, columns = _NAMING, len(table[0])
    while begin < columns:
        end = columns
        while True:
            lines = table_lines([[*row[:_NAMING], *row[begin:end]] for row in table])
            if end == begin + 1 or max(map(cells, lines)) <= room:
                break
            end -= 1
        if begin > _NAMING:
            put()
        for line in lines:
            put(line)
        begin = end


def shown(spread: Spread | None) -> str:
    """Return a mean with its standard deviation."""
    if spread is None:
        return "unknown"
    mean = number_text(spread.mean)
    return (
        f"{mean} ± {number_text(spread.stdev, spread.mean)}" if spread.stdev else mean
    )  # the deviation of one run is 0


def number_text(value: float, beside: float | None = None) -> str:
    """Return a number with at least four digits, or, with `beside`, with as many decimals as `beside` would get."""
    size = abs(value if beside is None else beside)
    decimals = 1 if size >= 100 else 2 if size >= 10 else 3
    return f"{value:,.{decimals}f}"


def percentiles_text(found: Distribution | None) -> str:
    """Return the three percentiles of a distribution, separated by slashes."""
    if found is None:
        return "unknown"
    return "/".join(number_text(value, found.p50) for value in (found.p50, found.p95, found.p99))
