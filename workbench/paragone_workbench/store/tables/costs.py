"""Adds up what runs cost, in SQL: no run is loaded, so memory does not grow with the history."""

from __future__ import annotations

from collections.abc import Mapping

from paragone_workbench.runs.costs import MOST_TOKENS, Costs
from paragone_workbench.store.file.database import Database

_PROMPT, _CACHED, _COMPLETION = (
    f"CASE WHEN {column} BETWEEN 0 AND {MOST_TOKENS} THEN {column} END"
    for column in ("prompt_tokens", "cached_tokens", "completion_tokens")
)
_SUMS = {
    "runs": "count(*)",
    "prompt_tokens": f"CAST(total({_PROMPT}) AS INTEGER)",
    "cached_tokens": f"CAST(total({_CACHED}) AS INTEGER)",
    "completion_tokens": f"CAST(total({_COMPLETION}) AS INTEGER)",
    "seconds": "total(max(0, ifnull(ended, started) - started - ifnull(waited_s, 0)))",
    "estimated": "count(CASE WHEN estimated THEN 1 END)",
    "uncounted": f"count(CASE WHEN {_PROMPT} + {_COMPLETION} IS NULL THEN 1 END)",
}
"""The fields of `Costs`, each as SQL. SQLite's `sum` would fail if a sum of whole numbers exceeded 64 bits; `total` does not."""
_COSTS = f"""
    SELECT engine, {", ".join(_SUMS.values())} FROM run INDEXED BY run_costs
    WHERE state != 'running' AND started >= ? AND (waited_s IS NOT NULL OR completion_tokens IS NOT NULL)
    GROUP BY engine ORDER BY engine
"""  # noqa: S608 (the names of columns)


def costs(database: Database, since: float) -> Mapping[str, Costs]:
    return {
        engine if isinstance(engine, str) else "?": Costs(**dict(zip(_SUMS, sums, strict=True)))
        for engine, *sums in database.stream(_COSTS, since)
    }
