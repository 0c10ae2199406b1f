"""Adds up what runs cost, in SQL: no run is loaded, so memory does not grow with the history."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Mapping

from paragone_workbench.runs.costs import MOST_JOULES, MOST_TOKENS, Costs
from paragone_workbench.store.errors import DAMAGED
from paragone_workbench.store.file.database import Database
from paragone_workbench.store.tables.json_columns import list_in


def _possible(column: str, most: int) -> str:
    """Return SQL for the value of a column if the value is a number from 0 to `most`, else NULL."""
    return f"CASE WHEN {column} BETWEEN 0 AND {most} THEN {column} END"


_PROMPT = _possible("prompt_tokens", MOST_TOKENS)
_COMPLETION = _possible("completion_tokens", MOST_TOKENS)
_JOULES = _possible("joules", MOST_JOULES)

_SUMS = {
    "runs": "count(*)",
    "prompt_tokens": f"CAST(total({_PROMPT}) AS INTEGER)",
    "cached_tokens": f"CAST(total({_possible('cached_tokens', MOST_TOKENS)}) AS INTEGER)",
    "completion_tokens": f"CAST(total({_COMPLETION}) AS INTEGER)",
    "seconds": "total(max(0, ifnull(ended, started) - started - ifnull(waited_s, 0)))",
    "joules": f"total({_JOULES})",
    "measured": f"count({_JOULES})",
    "shared": f"count(CASE WHEN shared AND {_JOULES} IS NOT NULL THEN 1 END)",
    "estimated": "count(CASE WHEN estimated THEN 1 END)",
    "uncounted": f"count(CASE WHEN {_PROMPT} + {_COMPLETION} IS NULL THEN 1 END)",
}
"""The fields of `Costs`, each as SQL. SQLite's `sum` would fail if a sum of whole numbers exceeded 64 bits; `total` does not."""
_COSTS = f"""
    SELECT engine, devices, {", ".join(_SUMS.values())} FROM run INDEXED BY run_costs
    WHERE state != 'running' AND started >= ? AND (waited_s IS NOT NULL OR completion_tokens IS NOT NULL)
    GROUP BY engine, devices
"""  # noqa: S608 (the names of columns)


def costs(database: Database, since: float) -> Mapping[str, Costs]:
    parts: defaultdict[str, list[Costs]] = defaultdict(list)
    for engine, devices, *sums in database.stream(_COSTS, since):
        fields = dict(zip(_SUMS, sums, strict=True))
        names = _names_in(devices) if devices and fields["measured"] else ()
        parts[engine if isinstance(engine, str) else "?"].append(Costs(devices=names, **fields))
    return {engine: Costs.total(parts[engine]) for engine in sorted(parts)}


def _names_in(devices: str) -> tuple[str, ...]:
    """Return the names of the devices; none if the record is damaged."""
    with contextlib.suppress(*DAMAGED):
        return tuple(map(str, list_in(devices)))
    return ()
