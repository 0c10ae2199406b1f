"""Prints the results of an experiment: its runs as JSON, one at a time, or a line for each engine."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping, Sequence

from paragone import Json
from paragone_cli.command_line.formats import put_full_names, short_names
from paragone_cli.command_line.output import flush, json_line, put, put_table
from paragone_workbench.experiments.running.totals import EngineTotals, SpeedTotals

_HEADER = ("engine", "runs", "failed", "passed", "tokens", "TTFT p50 (ms)", "tokens/s p50")

_SHARED = (
    "(shared): other runs used this machine or server at the same time, which makes answers slower. `--fresh` with "
    "`--schedule sequential` gives speeds that can be compared."
)


def put_totals(totals: Sequence[EngineTotals]) -> None:
    """Print a line for each engine, and a note if speeds are shared. Raises OutputError."""
    short = short_names(engine.engine for engine in totals)
    put_table([_HEADER, *(_row(engine, short[engine.engine]) for engine in totals)])
    put_full_names(short)
    if any(engine.are_times_shared for engine in totals):
        put()
        put(_SHARED)
    flush()


def _row(engine: EngineTotals, name: str) -> tuple[str, ...]:
    runs = f"{engine.runs:,}" if engine.runs == engine.total else f"{engine.runs:,} of {engine.total:,}"
    passed = f"{engine.passed:,} of {engine.asserted - engine.undecided:,}" if engine.asserted else "–"
    if engine.undecided:
        passed += f", {engine.undecided:,} undecided"
    return (
        name,
        runs,
        f"{engine.failed:,}",
        passed,
        "–" if engine.mean_tokens is None else f"{engine.mean_tokens:.1f}",
        _speed(engine.ttft_s, factor=1000),
        _speed(engine.decode_tps),
    )


def _speed(values: SpeedTotals, factor: float = 1) -> str:
    median = values.median
    if median is None:
        return "–"
    return f"{factor * median:.1f}" + (" (shared)" if values.are_shared else "")


async def put_runs(head: Mapping[str, Json], runs: AsyncIterable[Json]) -> None:
    """Print an object with the fields of `head`, and with the runs as its last field. Raises OutputError."""
    put("{")
    for name, value in head.items():
        put(f"  {json_line(name)}: {json_line(value)},")
    put('  "runs": [')
    before = None
    async for run in runs:
        if before is not None:
            put(f"    {before},")
        before = json_line(run)
    if before is not None:
        put(f"    {before}")
    put("  ]\n}")
    flush()
