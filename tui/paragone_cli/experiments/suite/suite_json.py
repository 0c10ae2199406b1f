"""Prints the runs of an experiment as JSON, one at a time."""

from __future__ import annotations

from collections.abc import AsyncIterable, Mapping

from paragone import Json
from paragone_cli.command_line.output import flush, json_line, put

__all__ = ["put_runs"]


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
