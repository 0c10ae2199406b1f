"""Prints the runs of an experiment as JSON, one at a time."""

from __future__ import annotations

from paragone_cli.output import flush, json_line, put
from paragone_workbench.experiments.saved_runs import saved_runs
from paragone_workbench.store import Experiment, History

__all__ = ["put_runs"]


async def put_runs(
    history: History,
    experiment: Experiment,
    *,
    resumed: bool,
    chosen: frozenset[int] | None = None,
) -> None:
    """Print the finished runs in the order prompt, engine, repetition. Raises StoreError and OutputError."""
    put(f'{{\n  "id": "e{experiment.id}",\n  "resumed": {json_line(resumed)},\n  "runs": [')
    before = None
    async for saved in saved_runs(history, experiment, chosen):
        if before is not None:
            put(f"    {before},")
        before = json_line(saved.to_json())
    if before is not None:
        put(f"    {before}")
    put("  ]\n}")
    flush()
