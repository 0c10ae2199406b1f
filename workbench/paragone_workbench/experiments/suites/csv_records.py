"""Suites in CSV: a header, and a row for each prompt. Columns without a known name are variables."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from paragone import InputError, Json
from paragone_workbench.engines.definitions import suggest
from paragone_workbench.experiments.suites.records import KEYS, Record, parse_json
from paragone_workbench.experiments.suites.suite import SuiteProblem

JSON_COLUMNS = ("messages", "variables", "assertions")
"""Columns whose cells are JSON."""

LARGEST_CELL = 1 << 30

MOST_COLUMNS = 1_000
"""Largest number of columns, since every prompt has a value for each column."""


def csv_records(path: Path, text: str) -> Iterator[Record | SuiteProblem]:
    """Yield the records of a text, and a problem for each malformed row. Empty rows are skipped.

    Raises InputError if the header is wrong.
    """
    header: list[str] | None = None
    for line, row in _rows(text):
        if isinstance(row, SuiteProblem):
            yield row
        elif header is None:
            header = _header(path, line, row)
        elif len(row) != len(header):
            yield SuiteProblem(
                line=line,
                sentence=f"The row has {len(row)} cells and the header {len(header)}. "
                "Put text with commas, quotation marks or line breaks in quotation marks.",
            )
        else:
            try:
                yield Record(line=line, values=_values(header, row))
            except InputError as error:
                yield SuiteProblem(line=line, sentence=str(error))


def _rows(text: str) -> Iterator[tuple[int, list[str] | SuiteProblem]]:
    """Yield the rows that are not empty, with the line where each begins."""
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = rows.line_num + 1
        # The limit applies to the whole process, so it is raised for one row only.
        before = csv.field_size_limit(LARGEST_CELL)
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, SuiteProblem(line=line, sentence=f"The row is not valid CSV: {error}.")
            continue
        finally:
            csv.field_size_limit(before)
        if any(cell.strip() for cell in row):
            yield line, row


def _header(path: Path, line: int, row: Sequence[str]) -> list[str]:
    if len(row) > MOST_COLUMNS:
        raise InputError(
            f"{path}:{line}: The header has {len(row):,} columns.",
            hint=f"A suite has at most {MOST_COLUMNS:,}.",
        )
    names = [name.strip() for name in row]
    if "prompt" not in names and "messages" not in names:
        raise InputError(
            f"{path}:{line}: The header has no column 'prompt' or 'messages'.",
            hint=f"The first row names the columns, separated by commas. {suggest('prompt', names)}",
        )
    for name in names:
        if not name:
            raise InputError(f"{path}:{line}: A column has no name.", hint="Name it, or remove it.")
        if names.count(name) > 1:
            raise InputError(f"{path}:{line}: Two columns are named {name!r}.", hint="Rename one.")
    return names


def _values(header: Sequence[str], row: Sequence[str]) -> dict[str, Json]:
    """Return the values of a row. An empty cell of a known column gives no value. Raises InputError for invalid JSON."""
    values: dict[str, Json] = {}
    variables: dict[str, Json] = {}
    for name, cell in zip(header, row, strict=True):
        if name not in KEYS:
            variables[name] = cell
        elif not cell.strip():
            continue
        elif name in JSON_COLUMNS:
            try:
                values[name] = parse_json(cell)
            except InputError as error:
                raise InputError(f"The column {name!r}: {error}") from error
        elif name == "tags":
            values[name] = [tag for tag in re.split(r"[\s;]+", cell) if tag]
        else:
            values[name] = cell
    given = values.get("variables", {})
    if variables and isinstance(given, dict):
        values["variables"] = {**variables, **given}
    return values
