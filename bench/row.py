"""A row of the table: a measured figure and its baseline."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["Row", "table"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure, its baseline from the same run, and its budget."""

    figure: str
    measured: str
    baseline: str
    budget: str
    holds: bool | None
    """Whether the figure is within its budget. None if it was not measured; `baseline` then says why."""


_HOLDS = {True: "yes", False: "NO", None: "–"}


def table(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| figure | measured | baseline, same run | budget | holds |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {row.figure} | {row.measured} | {row.baseline} | {row.budget} | {_HOLDS[row.holds]} |"
        for row in rows
    ]
    return "\n".join(lines)
