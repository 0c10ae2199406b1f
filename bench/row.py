"""A row of the table: a measured figure and its baseline."""

from dataclasses import dataclass

__all__ = ["HEADING", "Row", "line"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure, its baseline from the same run, and its budget."""

    figure: str
    measured: str
    baseline: str
    budget: str
    holds: bool | None
    """Whether the figure is within its budget. None if the figure was not measured, for the reason in `baseline`."""


_HOLDS = {True: "yes", False: "NO", None: "–"}

HEADING = """| figure | measured | baseline, same run | budget | holds | commit |
| --- | --- | --- | --- | --- | --- |"""
"""The first lines of the table, which is Markdown."""


def line(row: Row, commit: str) -> str:
    """Return a row as a line of the table. `commit` is the measured commit."""
    cells = (row.figure, row.measured, row.baseline, row.budget, _HOLDS[row.holds], commit)
    return f"| {' | '.join(' '.join(cell.split()).replace('|', '/') for cell in cells)} |"
