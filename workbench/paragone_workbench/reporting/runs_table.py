"""The CSV format: one row for each run of an experiment or a conversation (RFC 4180)."""

from __future__ import annotations

import csv
import datetime
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import groupby
from typing import TypeAlias

from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.engines.definitions import BackendLookup
from paragone_workbench.experiments.suite import saved_prompt
from paragone_workbench.lanes.lane import names_of
from paragone_workbench.reporting.content import public
from paragone_workbench.runs.context import path_to
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.result import RunResult
from paragone_workbench.store import Experiment, Store
from paragone_workbench.store.records import SavedConversation
from paragone_workbench.text import is_date

ColumnValue: TypeAlias = str | int | float | bool | None
"""A value; None if it is unknown."""

TableRow: TypeAlias = Mapping[str, ColumnValue]
"""A run as a row of the table: the values by the names of the columns."""

COLUMNS: Mapping[str, Callable[[RunResult], ColumnValue] | None] = {
    "run": None,
    "prompt_index": None,
    "repetition": None,
    "chosen": None,
    "engine": None,
    "backend": lambda run: run.definition.backend,
    "model": lambda run: public(run.definition.model),
    "prompt": None,
    "tags": None,
    "expected": None,
    "text": lambda run: run.text,
    "thinking": lambda run: run.thinking,
    "state": lambda run: run.state,
    "finish": lambda run: run.finish,
    "error": lambda run: public(run.message),
    "passed": None,
    "failed_assertions": None,
    "scores": None,
    "seed": lambda run: None if run.settings is None else run.settings.seed,
    "prompt_tokens": lambda run: _metrics(run).prompt_tokens,
    "cached_tokens": lambda run: _metrics(run).cached_tokens,
    "completion_tokens": lambda run: None if run.metrics is None else _metrics(run).completion_tokens,
    "drafted_tokens": lambda run: _metrics(run).drafted_tokens,
    "accepted_tokens": lambda run: _metrics(run).accepted_tokens,
    "ttft_s": lambda run: _metrics(run).ttft_s,
    "prefill_tps": lambda run: _metrics(run).prefill_tps,
    "decode_tps": lambda run: _metrics(run).decode_tps,
    "itl_p50_ms": lambda run: _metrics(run).itl_ms.p50,
    "itl_p95_ms": lambda run: _metrics(run).itl_ms.p95,
    "itl_p99_ms": lambda run: _metrics(run).itl_ms.p99,
    "load_s": lambda run: _metrics(run).load_s,
    "waited_s": lambda run: run.waited_s,
    "shared": lambda run: _metrics(run).shared,
    "started": lambda run: _utc(run.started),
}
"""The columns, with the functions that get their values from a result; None for values that a result does not have."""

_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""First characters of a cell that a spreadsheet takes for a formula, or skips before a formula."""
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")


def csv_pieces(rows: Iterable[TableRow]) -> Iterator[str]:
    """Yield the CSV file: a line with the names of the columns, and a row for each run.

    Texts that a spreadsheet would take for a formula have an apostrophe before them.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(map(_cell, row.values()))
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _row(result: RunResult, **values: ColumnValue) -> TableRow:
    """Return a row. `values` has the values that the result does not have, if they are known."""
    return {name: values.get(name) if find is None else find(result) for name, find in COLUMNS.items()}


def _metrics(run: RunResult) -> RunMetrics:
    """Return the figures; all unknown if the run has none."""
    return run.metrics or RunMetrics()


def _utc(seconds: float) -> str | None:
    """Return a date in UTC; None if the date is invalid."""
    if not is_date(seconds):
        return None
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat(timespec="seconds")


def _cell(value: ColumnValue) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return str(value)
    text = _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    return f"'{text}" if _FORMULA.match(text) else text


def rows_of(store: Store, subject: Experiment | SavedConversation, find: BackendLookup) -> Iterator[TableRow]:
    """Yield all runs as rows of a table. `find` returns the backend with a given name. The store must stay open. Raises StoreError."""
    if isinstance(subject, Experiment):
        return _experiment_rows(store, subject)
    return conversation_rows(subject, find)


def _experiment_rows(store: Store, experiment: Experiment) -> Iterator[TableRow]:
    runs = store.experiments.runs(experiment.number)
    for index, of_prompt in groupby(runs, lambda run: run.key.prompt_index):
        prompt = saved_prompt(store, experiment.number, index)
        for run in of_prompt:
            yield _row(
                run.result,
                run=f"e{experiment.number}/{run.number}",
                engine=run.result.definition.name,
                prompt_index=index,
                repetition=run.key.repetition,
                prompt=prompt.text,
                tags="; ".join(prompt.tags),
                expected=prompt.expected,
                passed=run.passed,
                failed_assertions="; ".join(run.reasons(passed=False)),
                scores="; ".join(f"{name}={score:g}" for name, score in run.scores.items()),
            )


def conversation_rows(saved: SavedConversation, find: BackendLookup) -> Iterator[TableRow]:
    """Yield all runs of a conversation as rows of a table, lane by lane. `find` returns the backend with a given name."""
    places = {prompt: index for index, prompt in enumerate(saved.conversation.prompts)}
    names = names_of(saved.lanes, find)
    for lane in saved.lanes:
        path = path_to(lane.head)
        answered: Counter[Prompt] = Counter()
        for run in lane.runs:
            assert run.prompt is not None  # a run of a conversation answers a prompt
            engine = run.result.definition.name
            yield _row(
                run.result,
                run=f"r{run.number}",
                engine=names[lane.id] if engine == lane.definition.name else engine,
                prompt_index=places[run.prompt],
                repetition=answered[run.prompt],
                prompt=run.prompt.text,
                chosen=run in path,
            )
            answered[run.prompt] += 1
