"""The CSV format: one row for each run (RFC 4180)."""

from __future__ import annotations

import csv
import datetime
import io
import re
from collections.abc import Iterable, Iterator
from typing import TypeAlias

from paragone_workbench.experiments.report.public_text import public
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.result import RunResult

__all__ = ["COLUMNS", "Row", "csv_pieces", "row_of"]

Cell: TypeAlias = str | int | float | bool | None
Row: TypeAlias = tuple[Cell, ...]
"""The values of `COLUMNS`; None where a value is unknown."""

COLUMNS = (
    "run",
    "prompt_index",
    "repetition",
    "chosen",
    "engine",
    "backend",
    "model",
    "prompt",
    "text",
    "thinking",
    "state",
    "finish",
    "error",
    "passed",
    "failed_assertions",
    "seed",
    "prompt_tokens",
    "cached_tokens",
    "completion_tokens",
    "drafted_tokens",
    "accepted_tokens",
    "ttft_s",
    "prefill_tps",
    "decode_tps",
    "itl_p50_ms",
    "itl_p95_ms",
    "itl_p99_ms",
    "load_s",
    "waited_s",
    "shared",
    "started",
)

_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""Characters at the beginning of a cell that make spreadsheets take it for a formula, or skip to one."""
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")


def csv_pieces(rows: Iterable[Row]) -> Iterator[str]:
    """Yield the CSV file: a line with the names of the columns, and a row for each run.

    Texts that a spreadsheet would take for a formula have an apostrophe before them.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_cell(value) for value in row])
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def row_of(
    run: RunResult,
    *,
    name: str,
    id: str,  # noqa: A002 (the name of the column)
    prompt_index: int,
    repetition: int,
    prompt: str,
    chosen: bool | None = None,
    passed: bool | None = None,
    failed_assertions: str = "",
) -> Row:
    """Return the row of a run."""
    metrics = run.metrics
    known = metrics or RunMetrics()
    values: dict[str, Cell] = {
        "run": id,
        "prompt_index": prompt_index,
        "repetition": repetition,
        "chosen": chosen,
        "engine": name,
        "backend": run.definition.backend,
        "model": public(run.definition.model),
        "prompt": prompt,
        "text": run.text,
        "thinking": run.thinking,
        "state": run.state,
        "finish": run.finish,
        "error": None if run.error is None else public(run.message),
        "passed": passed,
        "failed_assertions": failed_assertions,
        "seed": None if run.settings is None else run.settings.seed,
        "prompt_tokens": known.prompt_tokens,
        "cached_tokens": known.cached_tokens,
        "completion_tokens": None if metrics is None else metrics.completion_tokens,
        "drafted_tokens": known.drafted_tokens,
        "accepted_tokens": known.accepted_tokens,
        "ttft_s": known.ttft_s,
        "prefill_tps": known.prefill_tps,
        "decode_tps": known.decode_tps,
        "itl_p50_ms": known.itl_ms.p50,
        "itl_p95_ms": known.itl_ms.p95,
        "itl_p99_ms": known.itl_ms.p99,
        "load_s": known.load_s,
        "waited_s": run.waited_s,
        "shared": known.shared,
        "started": datetime.datetime.fromtimestamp(run.started, datetime.UTC).isoformat(timespec="seconds"),
    }
    return tuple(values[column] for column in COLUMNS)


def _cell(value: Cell) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return str(value)
    text = _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    return f"'{text}" if _FORMULA.match(text) else text
