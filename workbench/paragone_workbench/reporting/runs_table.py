"""The CSV format: one row for each run of an experiment or a conversation (RFC 4180)."""

from __future__ import annotations

import csv
import datetime
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import TypeAlias

from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.dates import is_date
from paragone_workbench.engines.definitions import BackendLookup
from paragone_workbench.experiments.suites.saved_prompts import saved_prompt
from paragone_workbench.lanes.names import names_of
from paragone_workbench.reporting.public_text import public
from paragone_workbench.runs.context import path_to
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.result import RunResult
from paragone_workbench.store import Experiment, Store
from paragone_workbench.store.records import SavedConversation

ColumnValue: TypeAlias = str | int | float | bool | None
"""A value; None if it is unknown."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TableRow:
    """A run as a row of the table."""

    result: RunResult
    id: str
    """`e3/17` or `r45`."""
    engine: str
    """The name of the engine, or of the lane."""
    prompt_index: int
    repetition: int
    prompt: str
    """The text of the prompt."""
    chosen: bool | None = None
    """Whether the run is on the path of its lane."""
    tags: Sequence[str] = ()
    expected: str | None = None
    """The expected answer."""
    passed: bool | None = None
    failed_assertions: str = ""
    scores: Mapping[str, float] = field(default_factory=dict)
    """Scores of assertions, such as a judge's, by their names."""

    @property
    def metrics(self) -> RunMetrics:
        """The figures; all unknown if the run has none."""
        return self.result.metrics or RunMetrics()

    def cells(self) -> dict[str, ColumnValue]:
        """Return the values of `COLUMNS`, by the names of the columns."""
        return {name: value_of(self) for name, value_of in COLUMNS.items()}


COLUMNS: Mapping[str, Callable[[TableRow], ColumnValue]] = {
    "run": lambda row: row.id,
    "prompt_index": lambda row: row.prompt_index,
    "repetition": lambda row: row.repetition,
    "chosen": lambda row: row.chosen,
    "engine": lambda row: row.engine,
    "backend": lambda row: row.result.definition.backend,
    "model": lambda row: public(row.result.definition.model),
    "prompt": lambda row: row.prompt,
    "tags": lambda row: "; ".join(row.tags),
    "expected": lambda row: row.expected,
    "text": lambda row: row.result.text,
    "thinking": lambda row: row.result.thinking,
    "state": lambda row: row.result.state,
    "finish": lambda row: row.result.finish,
    "error": lambda row: public(row.result.message),
    "passed": lambda row: row.passed,
    "failed_assertions": lambda row: row.failed_assertions,
    "scores": lambda row: "; ".join(f"{name}={score:g}" for name, score in row.scores.items()),
    "seed": lambda row: None if row.result.settings is None else row.result.settings.seed,
    "prompt_tokens": lambda row: row.metrics.prompt_tokens,
    "cached_tokens": lambda row: row.metrics.cached_tokens,
    "completion_tokens": lambda row: None if row.result.metrics is None else row.metrics.completion_tokens,
    "drafted_tokens": lambda row: row.metrics.drafted_tokens,
    "accepted_tokens": lambda row: row.metrics.accepted_tokens,
    "ttft_s": lambda row: row.metrics.ttft_s,
    "prefill_tps": lambda row: row.metrics.prefill_tps,
    "decode_tps": lambda row: row.metrics.decode_tps,
    "itl_p50_ms": lambda row: row.metrics.itl_ms.p50,
    "itl_p95_ms": lambda row: row.metrics.itl_ms.p95,
    "itl_p99_ms": lambda row: row.metrics.itl_ms.p99,
    "load_s": lambda row: row.metrics.load_s,
    "waited_s": lambda row: row.result.waited_s,
    "shared": lambda row: row.metrics.shared,
    "started": lambda row: _utc(row.result.started),
}

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
        writer.writerow(map(_cell, row.cells().values()))
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


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
    """Yield all runs of an experiment as rows of a table."""
    runs = store.experiments.runs(experiment.number)
    for index, of_prompt in groupby(runs, lambda run: run.key.prompt_index):
        prompt = saved_prompt(store, experiment.number, index)
        for run in of_prompt:
            yield TableRow(
                result=run.result,
                id=f"e{experiment.number}/{run.number}",
                engine=run.result.definition.name,
                prompt_index=index,
                repetition=run.key.repetition,
                prompt=prompt.text,
                tags=prompt.tags,
                expected=prompt.expected,
                passed=run.passed,
                failed_assertions="; ".join(run.reasons(passed=False)),
                scores=run.scores,
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
            yield TableRow(
                result=run.result,
                id=f"r{run.number}",
                engine=names[lane.id] if engine == lane.definition.name else engine,
                prompt_index=places[run.prompt],
                repetition=answered[run.prompt],
                prompt=run.prompt.text,
                chosen=run in path,
            )
            answered[run.prompt] += 1
