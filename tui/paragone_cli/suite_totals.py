"""Prints what came of the runs of an experiment, a line for each engine."""

from __future__ import annotations

from collections.abc import Sequence

from paragone_cli.output import flush, put, put_table
from paragone_workbench.experiments.running.totals import EngineTotals, SpeedTotals

__all__ = ["put_totals"]

_HEADER = ("engine", "runs", "failed", "passed", "mean tokens", "median TTFT", "median decode")

_SHARED = (
    "(shared): other runs used this machine or server at the same time, which makes answers slower. `--fresh` with "
    "`--schedule swap` or `sequential` gives speeds that can be compared."
)


def put_totals(totals: Sequence[EngineTotals]) -> None:
    """Print the table. Raises OutputError."""
    put_table([_HEADER, *map(_row, totals)])
    if any(it.are_times_shared for it in totals):
        put()
        put(_SHARED)
    flush()


def _row(it: EngineTotals) -> tuple[str, ...]:
    runs = f"{it.runs:,}" if it.runs == it.total else f"{it.runs:,} of {it.total:,}"
    passed = f"{it.passed:,} of {it.asserted:,}" if it.asserted else "–"
    if it.undecided:
        passed += f", {it.undecided:,} undecided"
    return (
        it.engine,
        runs,
        f"{it.failed:,}",
        passed,
        "–" if it.mean_tokens is None else f"{it.mean_tokens:.1f}",
        _speed(it.ttft_s, 3, "s"),
        _speed(it.decode_tps, 1, "tokens/s"),
    )


def _speed(values: SpeedTotals, digits: int, unit: str) -> str:
    median = values.median
    if median is None:
        return "–"
    return f"{median:.{digits}f} {unit}" + (" (shared)" if values.are_shared else "")
