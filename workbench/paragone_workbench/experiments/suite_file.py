"""Reads suites from files: JSONL, CSV and TOML."""

from __future__ import annotations

import csv
import datetime
import io
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

from paragone import InputError, Json, Message, ParagoneError, Role, wire
from paragone.files import LARGEST, read_regular_file
from paragone_workbench.config.toml_file import LARGEST as TOML_LARGEST
from paragone_workbench.config.toml_file import parse_toml
from paragone_workbench.conversation.variables import fill
from paragone_workbench.engines.definitions import suggest
from paragone_workbench.experiments.assertions import AssertionCatalog
from paragone_workbench.experiments.suite import AssertionSpec, Suite, SuiteProblem, SuitePrompt, problem_text

KEYS: Mapping[str, tuple[type | tuple[type, ...], str]] = {
    "prompt": (str, "text"),
    "messages": (list, "a list"),
    "system": (str, "text"),
    "expected": ((str, int, float), "text or a number"),
    "tags": (list, "a list of texts"),
    "variables": (dict, "an object with a value for each name"),
    "assertions": (list, "a list"),
}
"""The keys of a record, each with the types of its value, in words too."""

ROLES = ("system", "user", "assistant")


Record: TypeAlias = tuple[int, Callable[[], Json]]
"""The line of the entry of one prompt in a file, and a function that reads the entry, or raises InputError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FileDefaults:
    system: str | None = None
    """The file's system prompt, for prompts without a system prompt; None if the file has no system prompt."""
    given_system: str = ""
    assertions: tuple[AssertionSpec, ...] = ()
    """Assertions that apply to all prompts, in addition to the assertions of each prompt."""


def _prompt(
    index: int, line: int, record: Json, defaults: FileDefaults, catalog: AssertionCatalog, no_record: str
) -> tuple[SuitePrompt, bool]:
    """Return the prompt of a record, and whether it has the user's own system prompt.

    Raises InputError for the first mistake, with the sentence `no_record` for what is no record at all, and
    ParagoneError for a faulty assertion.
    """
    if not isinstance(record, Mapping):
        raise InputError(no_record)
    for key, value in record.items():
        if key not in KEYS:
            raise InputError(f"There is no key {key!r}. {suggest(key, KEYS)}")
        kind, wanted = KEYS[key]
        if value is not None and (not isinstance(value, kind) or isinstance(value, bool)):
            raise InputError(f"{key!r} must be {wanted}.")
    values: dict[str, Any] = {key: value for key, value in record.items() if value is not None}
    messages = _messages(values)
    given = False
    if any(message.role == "system" for message in messages):
        if "system" in values:
            raise InputError("There are both 'system' and a message with the role 'system': leave one out.")
    else:
        given = "system" not in values and defaults.system is None and bool(defaults.given_system)
        system = values.get("system", defaults.given_system if defaults.system is None else defaults.system)
        if system:
            messages = [Message(role="system", text=system), *messages]
    expected = values.get("expected")
    if not (expected is None or isinstance(expected, str)):
        expected = json.dumps(expected)
    tags = values.get("tags", ())
    if not all(isinstance(tag, str) for tag in tags):
        raise InputError("'tags' must be a list of texts.")
    variables = values.get("variables", {})
    if variables:
        messages = [Message(role=message.role, text=fill(message.text, variables)) for message in messages]
        expected = None if expected is None else fill(expected, variables)
    assertions = (*map(assertion_spec, values.get("assertions", ())), *defaults.assertions)
    if not assertions and expected is not None:
        assertions = (AssertionSpec(type="equals"),)
    for assertion in assertions:
        catalog.check_spec(assertion, expected=expected)
    prompt = SuitePrompt(
        index=index,
        line=line,
        messages=tuple(messages),
        expected=expected,
        tags=tuple(tags),
        variables=variables,
        assertions=assertions,
    )
    return prompt, given


def _messages(values: Mapping[str, Any]) -> list[Message]:
    """Return the messages before variables are filled in. Raises InputError."""
    if "messages" not in values:
        if not values.get("prompt", "").strip():
            raise InputError("There is no prompt: write a 'prompt' or 'messages'.")
        return [Message(role="user", text=values["prompt"])]
    if "prompt" in values:
        raise InputError("There are both 'prompt' and 'messages': leave one out.")
    messages = [_message(item) for item in values["messages"]]
    if not any(message.role == "user" for message in messages):
        raise InputError("'messages' needs a message with the role 'user'.")
    return messages


def _message(item: Json) -> Message:
    if not isinstance(item, Mapping):
        raise InputError('An item of \'messages\' must look like {"role": "user", "content": "…"}.')
    for key in item:
        if key not in ("role", "content"):
            raise InputError(f"A message has no key {key!r}. {suggest(key, ('role', 'content'))}")
    role, content = item.get("role"), item.get("content")
    if role not in ROLES:
        raise InputError(f"The 'role' of a message must be one of: {', '.join(ROLES)}.")
    if not isinstance(content, str):
        raise InputError("The 'content' of a message must be text.")
    return Message(role=cast("Role", role), text=content)


def assertion_spec(item: Json) -> AssertionSpec:
    """Return the assertion that an item of `assertions` describes, with unchecked options. Raises InputError."""
    if not isinstance(item, Mapping) or not isinstance(item.get("type"), str):
        raise InputError('An assertion must look like {"type": "contains", "value": "…"}.')
    negated = item.get("not", False)
    if not isinstance(negated, bool):
        raise InputError("The 'not' of an assertion must be true or false.")
    options = {key: value for key, value in item.items() if key not in ("type", "not")}
    return AssertionSpec(type=cast("str", item["type"]), options=options, negated=negated)


def parse_json(text: str) -> Json:
    """Parse JSON. Raises InputError with a sentence about the mistake."""
    try:
        value = wire.parse_json(text)
        if "\\u" in text:  # an escape may be half of a pair that makes one character
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InputError("The text has half of a surrogate pair, which is not a character.") from error
    except ValueError as error:
        raise InputError(f"The text is not valid JSON: {error}.") from error
    return value


JSON_COLUMNS = ("messages", "variables", "assertions")
"""Columns whose cells are JSON."""

LARGEST_CELL = 1 << 30

MOST_COLUMNS = 1_000
"""Largest number of columns, since every prompt has a value for each column."""


def csv_records(path: Path, text: str) -> Iterator[Record]:
    """Yield the records of a text without empty rows. Raises InputError if the header is wrong."""
    header: list[str] | None = None
    for line, row in _rows(text):
        if header is None and not isinstance(row, csv.Error):
            header = _header(path, line, row)
        else:
            yield line, partial(_values, header or [], row)


def _rows(text: str) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Yield the rows that are not empty, with the line where each begins."""
    csv.field_size_limit(LARGEST_CELL)  # of the whole process
    rows = csv.reader(io.StringIO(text, newline=""), strict=True)
    while True:
        line = rows.line_num + 1
        try:
            row = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            yield line, error
            continue
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


def _values(header: Sequence[str], row: Sequence[str] | csv.Error) -> dict[str, Json]:
    """Return the values of a row. An empty cell of a known column gives no value. Raises InputError for a malformed row."""
    if isinstance(row, csv.Error):
        raise InputError(f"The row is not valid CSV: {row}.")
    if len(row) != len(header):
        raise InputError(
            f"The row has {len(row)} cells and the header {len(header)}. "
            "Put text with commas, quotation marks or line breaks in quotation marks."
        )
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


TOML_KEYS = ("prompts", "system", "assertions")


def toml_records(
    path: Path, text: str, system: str, catalog: AssertionCatalog
) -> tuple[list[Record], FileDefaults, list[SuiteProblem]]:
    """Return the records of a file, the defaults of all prompts, and the problems outside of `[[prompts]]`.

    `system` applies if the file has no system prompt. Raises InputError, with the line, for invalid TOML.
    """
    document = parse_toml(path, text)
    problems: list[SuiteProblem] = []

    def wrong(sentence: str, *key: str | int) -> None:
        problems.append(SuiteProblem(line=document.line(*key), sentence=sentence))

    def items(key: str) -> list[object]:
        found = document.data.get(key, [])
        if isinstance(found, list):
            return found
        wrong(f"{key!r} must be a list of tables: begin each with [[{key}]].", key)
        return []

    for key in document.data:
        if key not in TOML_KEYS:
            wrong(f"There is no key {key!r}. {suggest(key, TOML_KEYS)}", key)
    own = document.data.get("system")
    if not (own is None or isinstance(own, str)):
        wrong("'system' must be text.", "system")
        own = None
    specs: list[AssertionSpec] = []
    for index, item in enumerate(items("assertions")):
        try:
            spec = assertion_spec(_plain(item))
            catalog.prepared(spec)
        except ParagoneError as error:
            wrong(str(error), "assertions", index)
        else:
            specs.append(spec)
    records: list[Record] = [
        (document.line("prompts", index), partial(_plain, item))
        for index, item in enumerate(items("prompts"))
    ]
    return records, FileDefaults(system=own, given_system=system, assertions=tuple(specs)), problems


def _plain(value: object) -> Json:
    """Return a value of TOML as JSON: dates and times become text. Raises InputError for what JSON cannot express."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(f"{value} is not a finite number.")
    assert isinstance(value, bool | int | float | str)
    return value


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
    records: Iterable[Record]
    mistake = 'Each line must be an object, such as {"prompt": "…"}.'
    if ending == ".toml":
        records, defaults, problems = toml_records(path, text, system, catalog)
        mistake = "A prompt must be a table: begin it with [[prompts]]."
    else:
        # Not splitlines: it splits at characters that strings in JSON may contain.
        lines = enumerate(text.split("\n"), start=1)
        jsonl = ((line, partial(parse_json, content)) for line, content in lines if content.strip())
        records = jsonl if ending == ".jsonl" else csv_records(path, text)
    prompts: list[SuitePrompt] = []
    given_system: set[int] = set()
    for index, (line, read) in enumerate(records):
        try:
            prompt, given = _prompt(index, line, read(), defaults, catalog, mistake)
        except ParagoneError as error:
            problems.append(SuiteProblem(line=line, sentence=str(error)))
            continue
        prompts.append(prompt)
        if given:
            given_system.add(index)
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
