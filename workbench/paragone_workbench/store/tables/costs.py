"""Adds up what runs cost, in SQL: no run is loaded, so memory does not grow with the history."""

from __future__ import annotations

import contextlib
from collections import defaultdict
from typing import TYPE_CHECKING

from paragone_workbench.runs.costs import MOST_JOULES, MOST_TOKENS, Costs
from paragone_workbench.store.errors import DAMAGED
from paragone_workbench.store.tables.json_columns import list_in

if TYPE_CHECKING:
    from collections.abc import Mapping

    from paragone_workbench.store.file.database import Database


def _possible(column: str, most: int) -> str:
    """Return SQL for the value of a column if the value is a number from 0 to `most`, else NULL."""
    return f"CASE WHEN {column} BETWEEN 0 AND {most} THEN {column} END"


_PROMPT = _possible("prompt_tokens", MOST_TOKENS)
_CACHED = _possible("cached_tokens", MOST_TOKENS)
_COMPLETION = _possible("completion_tokens", MOST_TOKENS)
_JOULES = _possible("joules", MOST_JOULES)

# A row for each engine and set of devices, with the sums of the fields of `Costs.of`. `total` instead of `sum`: whole
# numbers that a server invents can exceed 64 bits.
_SUMS = f"""
    SELECT
      engine, devices, count(*),
      total({_PROMPT}), total({_CACHED}), total({_COMPLETION}),
      total(max(0, ifnull(ended, started) - started - ifnull(waited_s, 0))),
      total({_JOULES}), count({_JOULES}),
      count(CASE WHEN shared AND {_JOULES} IS NOT NULL THEN 1 END),
      count(CASE WHEN estimated THEN 1 END),
      count(CASE WHEN {_PROMPT} + {_COMPLETION} IS NULL THEN 1 END)
    FROM run INDEXED BY run_costs
    WHERE state != 'running' AND started >= ? AND (waited_s IS NOT NULL OR completion_tokens IS NOT NULL)
    GROUP BY engine, devices
"""  # noqa: S608 (the names of columns)


def costs(database: Database, since: float) -> Mapping[str, Costs]:
    """Return the costs of the runs that were started at `since` (seconds since 1970) or later, by the engines' names."""
    parts: defaultdict[str, list[Costs]] = defaultdict(list)
    for row in database.stream(_SUMS, since):
        (
            engine,
            devices,
            runs,
            prompt,
            cached,
            completion,
            seconds,
            joules,
            measured,
            shared,
            estimated,
            uncounted,
        ) = row
        parts[engine if isinstance(engine, str) else "?"].append(
            Costs(
                runs=runs,
                prompt_tokens=int(prompt),
                cached_tokens=int(cached),
                completion_tokens=int(completion),
                seconds=seconds,
                joules=joules,
                devices=_names_in(devices) if devices and measured else (),
                measured=measured,
                shared=shared,
                estimated=estimated,
                uncounted=uncounted,
            )
        )
    return {engine: Costs.total(parts[engine]) for engine in sorted(parts)}


def _names_in(devices: str) -> tuple[str, ...]:
    """Return the names of the devices; none if the record is damaged."""
    with contextlib.suppress(*DAMAGED):
        return tuple(map(str, list_in(devices)))
    return ()
