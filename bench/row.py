"""A line of the table: what was measured, beside what it is measured against."""

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
    """None where it could not be measured: `measured` says so, `baseline` why."""


_HOLDS = {True: "yes", False: "NO", None: "–"}


def table(rows: Iterable[Row]) -> str:
    """Return the rows as a Markdown table."""
    lines = ["| figure | measured | baseline, same run | budget | holds |", "| --- | --- | --- | --- | --- |"]
    lines += [
        f"| {row.figure} | {row.measured} | {row.baseline} | {row.budget} | {_HOLDS[row.holds]} |"
        for row in rows
    ]
    return "\n".join(lines)
