"""Reads suites from files: JSONL, CSV and TOML. And the entries of which a suite file consists, for those that write one."""

import csv
import io
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TypeAlias, cast

from msgspec import Struct, field

from paragone import InputError, Json, Message, ParagoneError, Role, files, json_values, wire
from paragone_workbench import data
from paragone_workbench.config import toml_file
from paragone_workbench.conversation.variables import fill
from paragone_workbench.engines.definitions import suggest
from paragone_workbench.experiments.assertions import AssertionCatalog
from paragone_workbench.experiments.suite import AssertionSpec, Problem, Suite, SuitePrompt, problem_text


class _EntryMessage(Struct, forbid_unknown_fields=True):
    role: Role
    content: str


class _Assertion(Struct):
    """An assertion. Its other keys are the options of the assertion of this type."""

    type: str
    negated: bool = field(name="not", default=False)


class SuiteEntry(Struct, forbid_unknown_fields=True, kw_only=True, omit_defaults=True):
    """The entry of one prompt. A null counts as missing."""

    system: str | None = None
    prompt: str | None = None
    messages: list[_EntryMessage] | None = None
    answer: str | None = None
    conversation: str | None = None
    expected: str | int | float | None = None
    choices: list[str] | None = None
    tags: list[str] | None = None
    variables: dict[str, object] | None = None
    assertions: list[dict[str, object]] | None = None


KEYS = SuiteEntry.__struct_fields__


class _File(Struct, forbid_unknown_fields=True):
    """A file in TOML. Its assertions apply to all prompts, in addition to the assertions of each prompt."""

    prompts: list[object] = []
    system: str | None = None
    assertions: list[object] = []


Record: TypeAlias = tuple[int, Callable[[], Json]]
"""The line of the entry of one prompt in a file, and a function that reads the entry, or raises InputError."""


def _prompt(
    index: int,
    line: int,
    given: Json,
    system: str,
    shared: Sequence[AssertionSpec],
    catalog: AssertionCatalog,
    folder: Path,
) -> SuitePrompt:
    """Return the prompt of a record; `system` and `shared` are for all prompts of the file in `folder`. Raises
    InputError for the first mistake, and ParagoneError for a faulty assertion."""
    record = data.read(SuiteEntry, given, whole="A prompt")
    messages = _messages(record)
    if any(message.role == "system" for message in messages):
        if record.system is not None:
            raise InputError("There are both 'system' and a message with the role 'system': remove one.")
    elif own := system if record.system is None else record.system:
        messages = [Message(role="system", text=own), *messages]
    expected, choices = record.expected, record.choices or []
    variables = cast("Mapping[str, Json]", record.variables or {})
    if variables:
        messages = [Message(role=message.role, text=fill(message.text, variables)) for message in messages]
        expected = fill(expected, variables) if isinstance(expected, str) else expected
        choices = [fill(choice, variables) for choice in choices]
    if choices:
        expected = _expected_choice(choices, expected)
    elif not (expected is None or isinstance(expected, str)):
        expected = json.dumps(expected)
    assertions = (*map(assertion_spec, record.assertions or ()), *shared)
    if not assertions and expected is not None:
        assertions = (AssertionSpec(type="likelihood" if choices else "equals"),)
    assertions = tuple(catalog.located(assertion, folder) for assertion in assertions)
    for assertion in assertions:
        catalog.check_spec(assertion, expected=expected)
    return SuitePrompt(
        index=index,
        line=line,
        messages=tuple(messages),
        expected=expected,
        choices=tuple(choices),
        tags=tuple(record.tags or ()),
        variables=variables,
        assertions=assertions,
        answer=record.answer,
        conversation=record.conversation or "",
    )


def _expected_choice(choices: Sequence[str], expected: str | int | float | None) -> str | None:
    """Return the expected choice, which a text or an index from 0 names. Raises InputError."""
    if len(set(choices)) < max(len(choices), 2) or not all(map(str.strip, choices)):
        raise InputError("'choices' needs two texts or more, which are different and not empty.")
    if isinstance(expected, int) and 0 <= expected < len(choices):
        return choices[expected]
    if expected is None or (isinstance(expected, str) and expected in choices):
        return expected
    raise InputError(
        f"'expected' is none of the 'choices': {expected!r}.",
        hint="Write the text of the choice, or its index, from 0 on.",
    )


def _messages(record: SuiteEntry) -> list[Message]:
    """Return the messages before variables are filled in. Raises InputError."""
    if record.messages is None:
        if not (record.prompt or "").strip():
            raise InputError("There is no prompt: write a 'prompt' or 'messages'.")
        return [Message(role="user", text=record.prompt or "")]
    if record.prompt is not None:
        raise InputError("There are both 'prompt' and 'messages': remove one.")
    if not any(message.role == "user" for message in record.messages):
        raise InputError("'messages' needs a message with the role 'user'.")
    return [Message(role=message.role, text=message.content) for message in record.messages]


def entry_of(messages: Sequence[Message], *, answer: str | None = None, conversation: str = "") -> SuiteEntry:
    """Return the entry of a prompt: a `prompt`, or `messages` if there are messages before the prompt."""
    entry = SuiteEntry(answer=answer, conversation=conversation or None)
    if messages[0].role == "system":
        entry.system, messages = messages[0].text, messages[1:]
    if len(messages) == 1:
        entry.prompt = messages[0].text
    else:
        entry.messages = [_EntryMessage(role=it.role, content=it.text) for it in messages]
    return entry


def assertion_spec(item: object) -> AssertionSpec:
    """Return the assertion that an item of `assertions` describes, with unchecked options. Raises InputError."""
    read = data.read(_Assertion, item, whole="An assertion")
    options = {
        key: value for key, value in cast("Mapping[str, Json]", item).items() if key not in ("type", "not")
    }
    return AssertionSpec(type=read.type, options=options, negated=read.negated)


def parse_json(text: str) -> Json:
    """Parse JSON. Raises an InputError that describes the mistake."""
    try:
        value = wire.parse_json(text)
        if "\\u" in text:  # an escape may be half of a pair that encodes one character
            json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError as error:
        raise InputError("The text has half of a surrogate pair, which is not a character.") from error
    except ValueError as error:
        raise InputError(f"The text is not valid JSON: {error}.") from error
    return value


_JSON_COLUMNS = ("messages", "choices", "variables", "assertions")
"""Columns whose cells are JSON."""


def csv_records(path: Path, text: str) -> Iterator[Record]:
    """Yield the records of a text, except empty rows, each with the line where it begins. Raises InputError if the
    header is wrong."""
    header: list[str] = []
    for line, row in csv_rows(io.StringIO(text, newline="")):
        if header:
            yield line, partial(_values, header, row)
        elif isinstance(row, list):
            header = _header(path, line, row)


def csv_rows(lines: Iterable[str]) -> Iterator[tuple[int, list[str] | csv.Error]]:
    """Yield the rows of CSV that are not empty, each with the line where it begins; for a malformed row, the error."""
    csv.field_size_limit(files.LARGEST)  # of the whole process
    rows = csv.reader(lines, strict=True)
    row: list[str] | csv.Error | None = []
    while row is not None:
        line = rows.line_num + 1
        try:
            row = next(rows, None)
        except csv.Error as error:
            row = error
        if isinstance(row, csv.Error) or (row and any(map(str.strip, row))):
            yield line, row


def cells(header: Sequence[str], row: Sequence[str] | csv.Error) -> dict[str, str]:
    """Return the cells of a row by the names of their columns. Raises InputError for a malformed row."""
    if isinstance(row, csv.Error):
        raise InputError(f"The row is not valid CSV: {row}.")
    if len(row) != len(header):
        raise InputError(
            f"The row has {len(row)} cells and the header {len(header)}. "
            "Put text with commas, quotation marks or line breaks in quotation marks."
        )
    return dict(zip(header, row, strict=True))


_CHECK = re.compile(
    r"__.*|assert(s|ion|ions)?[-_\d]*|checks?|expect(s|ed)?([-_\d].*)?|ideal|metrics?|rubric", re.IGNORECASE
)
"""Column names with which other programs check answers, such as promptfoo's `__expected` and `__metric`."""


def _header(path: Path, line: int, row: Sequence[str]) -> list[str]:
    names = [name.strip() for name in row]
    if "prompt" not in names and "messages" not in names:
        raise InputError(
            f"{path}:{line}: The header has no column 'prompt' or 'messages'.",
            hint=f"The first row names the columns, separated by commas. {suggest('prompt', names)}",
        )
    name, times = Counter(names).most_common(1)[0]
    if times > 1 or "" in names:
        raise InputError(
            f"{path}:{line}: {f'{times} columns are named {name!r}' if times > 1 else 'A column has no name'}.",
            hint="Give each column a name of its own.",
        )
    for name in names:
        if name not in KEYS and _CHECK.fullmatch(name):
            raise InputError(
                f"{path}:{line}: The column {name!r} looks like a check of answers, but would not check anything.",
                hint="Name the column of expected answers 'expected'. Other checks are JSON in a column 'assertions', such "
                'as [{"type": "contains", "value": "Paris"}]; see docs/suites.md. If the column is only a variable, rename it.',
            )
    return names


def _values(header: Sequence[str], row: Sequence[str] | csv.Error) -> dict[str, Json]:
    """Return the values of a row. An empty cell of a known column gives no value. Raises InputError for a malformed row."""
    values: dict[str, Json] = {}
    variables: dict[str, Json] = {}
    for name, cell in cells(header, row).items():
        if name not in KEYS or name == "answer":  # the answer of questions in a table
            variables[name] = cell
        if name not in KEYS or not cell.strip():
            continue
        if name in _JSON_COLUMNS:
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


def _toml_file(document: toml_file.TomlDocument) -> _File:
    try:
        return data.read(_File, document.data)
    except data.DataError as error:
        place = document.where(*error.path.split("."))
        raise InputError(f"{place}: {error.message}", hint=error.hint) from error


EXAMPLES = {
    ".jsonl": 'Write a prompt a line: {"prompt": "Why is the sky blue?"}.',
    ".csv": "Write the header prompt,expected and below it a row for each prompt.",
    ".toml": 'Begin each prompt with [[prompts]], and write prompt = "Why is the sky blue?" below it.',
}
"""Hints on what to write into an empty file, by the ending of the file's name."""


def read_suite(path: Path, catalog: AssertionCatalog, *, system: str = "") -> Suite:
    """Read a suite file, whose ending names its format: .jsonl, .csv or .toml. Prompts without a system prompt in the
    file get `system`. Prompts with a problem are skipped, and the suite lists the problems. Raises InputError if the
    file cannot be read, is not UTF-8 text, or has no usable prompt."""
    ending = path.suffix.lower()
    if ending not in EXAMPLES:
        raise InputError(
            f"{path} is a folder."
            if path.is_dir()
            else f"The ending of {path.name} is not a format of suites.",
            hint=f"The name of a suite ends in {', '.join(EXAMPLES)}.",
        )
    largest = toml_file.LARGEST if ending == ".toml" else files.LARGEST
    text = toml_file.text_of(path, hint="Name a file of prompts.", largest=largest)
    own: str | None = None
    shared: list[AssertionSpec] = []
    problems: list[Problem] = []
    records: Iterable[Record]
    if ending == ".toml":
        document = toml_file.parse_toml(path, text)
        file = _toml_file(document)
        own = file.system
        for index, item in enumerate(file.assertions):
            try:
                spec = assertion_spec(item)
                catalog.prepared(spec)
                shared.append(spec)
            except ParagoneError as error:
                problems.append((document.line("assertions", index), str(error)))
        listed = enumerate(json_values.list_at(document.data, "prompts"))
        records = (
            (document.line("prompts", index), partial(json_values.value_at, item)) for index, item in listed
        )
    elif ending == ".csv":
        records = csv_records(path, text)
    else:
        # Not splitlines, which splits at characters that strings in JSON may contain.
        lines = enumerate(text.split("\n"), start=1)
        records = ((line, partial(parse_json, content)) for line, content in lines if content.strip())
    prompts: list[SuitePrompt] = []
    for index, (line, read) in enumerate(records):
        try:
            prompt = _prompt(
                index, line, read(), system if own is None else own, shared, catalog, path.parent
            )
        except ParagoneError as error:
            problems.append((line, str(error)))
        else:
            prompts.append(prompt)
    problems.sort(key=lambda problem: problem[0])
    if not prompts and problems:
        raise InputError(problem_text(str(path), problems), hint="No prompt is left.")
    if not prompts:
        raise InputError(f"{path} has no prompts.", hint=EXAMPLES[ending])
    return Suite(
        name=path.stem,
        prompts=tuple(prompts),
        problems=tuple(problems),
        given_system=system if own is None else "",
    )
