"""The formats of reports: HTML, Markdown (as GitHub shows it), and CSV with one row for each run (RFC 4180)."""

from __future__ import annotations

import csv
import datetime
import functools
import io
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import version
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from paragone import InputError
from paragone.texts import install_command
from paragone_workbench import blocks, ids, paths
from paragone_workbench.conversation.tree import Prompt, fenced
from paragone_workbench.engines.definitions import BackendLookup
from paragone_workbench.experiments.suite import saved_prompt
from paragone_workbench.lanes.lane import names_of
from paragone_workbench.reporting import content
from paragone_workbench.runs.context import path_to
from paragone_workbench.runs.result import RunResult
from paragone_workbench.store import Experiment, Store
from paragone_workbench.store.records import SavedConversation
from paragone_workbench.text import is_date, visible

if TYPE_CHECKING:
    from jinja2 import Environment


_SPECIAL = re.compile(r"([\\`*_\[\]<>|~#&$])")
"""Characters that may begin markup in Markdown."""


def _inline(text: str) -> str:
    """Return a text on one line, with all markup escaped."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))


def report_pieces(report: content.ReportContent, suffix: str, now: float) -> Iterator[str]:
    """Yield the report. `now` is the time of writing, in seconds since 1970. Raises InputError without jinja2."""
    template = _environment().get_template(f"report.{suffix}.j2")
    return template.generate(report=report, written=blocks.date_text(now), version=version("paragone"))


@functools.cache
def _environment() -> Environment:
    try:
        import jinja2
    except ModuleNotFoundError as error:
        if error.name != "jinja2":
            raise
        raise InputError(
            "Reports in HTML and Markdown need the package jinja2, which is not installed.",
            hint=f"Install it with: {install_command('experiments')}",
        ) from error
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("paragone_workbench.reporting", ""),
        autoescape=jinja2.select_autoescape(("html.j2",)),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"inline": _inline, "fenced": lambda text: fenced(text, "text")}
    return environment


ReportFormat: TypeAlias = Literal["html", "md", "csv", "json"]
_SUGGESTED = 5


def format_of(path: Path, *, replaces: bool = False) -> ReportFormat:
    """Return the format of a file by its suffix. Raises InputError for an unknown suffix, or if the file cannot be
    written. `replaces` allows replacing an existing file."""
    paths.check_target(path, replaces=replaces)
    match path.suffix[1:].lower():
        case "html" | "md" | "csv" | "json" as found:
            return found
    raise InputError(
        f"The format of {path} is unknown: the name must end in .html, .md, .csv or .json.",
        hint="For a page for the browser, write --to report.html.",
    )


def write(path: Path, pieces: Iterable[str], *, mode: int = 0o666) -> int:
    """Write the pieces into a file with this mode minus the umask, replacing an existing file, and return its size in
    bytes. Raises ParagoneError."""
    with paths.replacing(path, mode=mode) as file:
        for piece in pieces:
            file.write(piece)
    return path.stat().st_size


def find_subject(store: Store, text: str) -> Experiment | SavedConversation:
    """Return the experiment (`e3`) or conversation (`c7`) with this id. Raises InputError and StoreError."""
    found = ids.parse_id(text)
    if found is None or found.kind == "r" or found.run is not None:
        raise InputError(
            f"{visible(text)!r} is not the id of an experiment or a conversation.", hint=newest(store)
        )
    try:
        return store.experiments.get(found.number) if found.kind == "e" else store.load(found.number)
    except InputError:
        kind = "experiment" if found.kind == "e" else "conversation"
        raise InputError(f"There is no {kind} {text} in the history.", hint=newest(store)) from None


def newest(store: Store) -> str:
    found = store.conversations(_SUGGESTED)
    return store.experiments.newest([f"c{summary.number} ({summary.title})" for summary in found])


ColumnValue: TypeAlias = str | int | float | bool | None

TableRow: TypeAlias = Mapping[str, ColumnValue]


def _metric(name: str) -> Callable[[RunResult], ColumnValue]:
    get = attrgetter(name)
    return lambda run: None if run.metrics is None else get(run.metrics)


COLUMNS: Mapping[str, Callable[[RunResult], ColumnValue] | None] = {
    "run": None,
    "prompt_index": None,
    "repetition": None,
    "chosen": None,
    "engine": None,
    "backend": lambda run: run.definition.backend,
    "model": lambda run: blocks.public(run.definition.model),
    "prompt": None,
    "tags": None,
    "expected": None,
    "text": lambda run: run.text,
    "thinking": lambda run: run.thinking,
    "state": lambda run: run.state,
    "finish": lambda run: run.finish,
    "error": lambda run: blocks.public(run.message),
    "passed": None,
    "failed_assertions": None,
    "scores": None,
    "seed": lambda run: None if run.settings is None else run.settings.seed,
    **{
        f"{kind}_tokens": _metric(f"{kind}_tokens")
        for kind in ("prompt", "cached", "completion", "drafted", "accepted")
    },
    **{name: _metric(name) for name in ("ttft_s", "prefill_tps", "decode_tps")},
    **{f"itl_p{percent}_ms": _metric(f"itl_ms.p{percent}") for percent in (50, 95, 99)},
    "load_s": _metric("load_s"),
    "waited_s": lambda run: run.waited_s,
    "shared": _metric("shared"),
    "started": lambda run: (
        datetime.datetime.fromtimestamp(run.started, datetime.UTC).isoformat(timespec="seconds")
        if is_date(run.started)
        else None
    ),
}
"""The columns, with the functions that get their values from a result; None for values that a result does not have."""

_FORMULA = re.compile(r"[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""First characters of a cell that a spreadsheet interprets as a formula, or skips before a formula."""
_UNWRITABLE = re.compile("[\0\ud800-\udfff]")


def csv_pieces(rows: Iterable[TableRow]) -> Iterator[str]:
    """Yield the CSV file. Texts that a spreadsheet would interpret as a formula get an apostrophe before them."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow(map(_csv_cell, row.values()))
        yield buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
    yield buffer.getvalue()


def _row(result: RunResult, **values: ColumnValue) -> TableRow:
    return {name: values.get(name) if find is None else find(result) for name, find in COLUMNS.items()}


def _csv_cell(value: ColumnValue) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return str(value)
    text = _UNWRITABLE.sub("\N{REPLACEMENT CHARACTER}", value)
    return f"'{text}" if _FORMULA.match(text) else text


def rows_of(store: Store, subject: Experiment | SavedConversation, find: BackendLookup) -> Iterator[TableRow]:
    """Yield all runs as rows of a table. `find` returns the backend with a given name. The store must stay open. Raises
    StoreError."""
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
        path = frozenset(path_to(lane.head))
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
