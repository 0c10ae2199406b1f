"""Prints what came of the runs of an experiment, a line for each engine."""

from __future__ import annotations

from collections.abc import Iterable

from paragone_cli.output import flush, put_table
from paragone_workbench.experiments.running.totals import EngineTotals

__all__ = ["put_totals"]

_HEADER = ("engine", "runs", "failed", "passed", "mean tokens", "median TTFT", "median decode")


def put_totals(totals: Iterable[EngineTotals]) -> None:
    """Print the table. Raises OutputError."""
    put_table([_HEADER, *map(_row, totals)])
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
        "–" if it.median_ttft_s is None else f"{it.median_ttft_s:.3f} s",
        "–" if it.median_decode_tps is None else f"{it.median_decode_tps:.1f} tokens/s",
    )
