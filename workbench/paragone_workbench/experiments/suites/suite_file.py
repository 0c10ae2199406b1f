"""Reads suites from files: JSONL, CSV and TOML."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from paragone import InputError
from paragone.regular_file import LARGEST, read_regular_file
from paragone_workbench.config.toml_file import LARGEST as TOML_LARGEST
from paragone_workbench.experiments.suites.assertions import AssertionCatalog
from paragone_workbench.experiments.suites.csv_records import csv_records
from paragone_workbench.experiments.suites.records import (
    FileDefaults,
    Record,
    RecordReader,
    parse_json,
    record_of,
)
from paragone_workbench.experiments.suites.suite import Suite, SuiteProblem, SuitePrompt, problem_text
from paragone_workbench.experiments.suites.toml_records import TomlSuite

EXAMPLES = {
    ".jsonl": 'Write a prompt a line: {"prompt": "Why is the sky blue?"}.',
    ".csv": "Write the header prompt,expected and below it a row for each prompt.",
    ".toml": 'Begin each prompt with [[prompts]], and write prompt = "Why is the sky blue?" below it.',
}
"""Hints on what to write into an empty file, by the ending of the file's name."""


def read_suite(path: Path, catalog: AssertionCatalog, *, system: str = "") -> Suite:
    """Read a suite file, whose ending names its format: .jsonl, .csv or .toml.

    Prompts for which the file has no system prompt get the system prompt `system`. Prompts with a problem are left out, and
    the suite lists the problems. Raises InputError if the file cannot be read, is not UTF-8 text, or has no usable prompt.
    """
    ending = path.suffix.lower()
    if ending not in EXAMPLES:
        raise InputError(
            f"The ending of {path.name} names no format of a suite.",
            hint=f"The name of a suite ends in {', '.join(EXAMPLES)}.",
        )
    text = _read(path, largest=TOML_LARGEST if ending == ".toml" else LARGEST)
    defaults = FileDefaults(given_system=system)
    problems: list[SuiteProblem] = []
    records: Iterable[Record | SuiteProblem]
    if ending == ".toml":
        toml = TomlSuite(path, text)
        defaults = toml.defaults(system, catalog)
        records = list(toml.records())
        problems += toml.problems
    else:
        records = _jsonl_records(text) if ending == ".jsonl" else csv_records(path, text)
    prompts: list[SuitePrompt] = []
    given_system: set[int] = set()
    for index, record in enumerate(records):
        if isinstance(record, SuiteProblem):
            problems.append(record)
            continue
        reader = RecordReader(record, defaults, catalog)
        if (prompt := reader.prompt(index)) is not None:
            prompts.append(prompt)
        if reader.takes_given_system:
            given_system.add(index)
        problems += reader.problems
    problems.sort(key=lambda problem: problem.line)
    if not prompts and problems:
        raise InputError(problem_text(str(path), problems), hint="No prompt is left.")
    if not prompts:
        raise InputError(f"{path} has no prompts.", hint=EXAMPLES[ending])
    return Suite(
        name=path.stem,
        prompts=tuple(prompts),
        problems=tuple(problems),
        given_system=frozenset(given_system),
    )


def _read(path: Path, *, largest: int) -> str:
    raw = read_regular_file(path, hint="Name a file of prompts.", largest=largest)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # the position in the error is counted after the byte order mark
        start = error.start + len(raw) - len(error.object)
        line = raw.count(b"\n", 0, start) + 1
        column = start - raw.rfind(b"\n", 0, start)
        raise InputError(
            f"{path}:{line}: The file is not UTF-8 text: byte 0x{raw[start]:02x} at position {column} of the line.",
            hint="Save it as UTF-8.",
        ) from error


def _jsonl_records(text: str) -> Iterator[Record | SuiteProblem]:
    """Yield the record in each line of a text, and a problem for each malformed line. Skip empty lines."""
    # Not splitlines: it splits at characters that strings in JSON may contain.
    for line, content in enumerate(text.split("\n"), start=1):
        if content.strip():
            mistake = 'Each line must be an object, such as {"prompt": "…"}.'
            yield record_of(line, partial(parse_json, content), mistake=mistake)
