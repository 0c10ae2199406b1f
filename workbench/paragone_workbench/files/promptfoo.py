"""Tests of promptfoo: prompts with variables and assertions, from its configuration in YAML or JSON, and from rows of CSV."""

import io
import itertools
import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from paragone import InputError, Json, Message, files
from paragone.json_values import count_at, list_at, number_at, object_at, text_at, value_at
from paragone.texts import install_command
from paragone_workbench.config.toml_file import text_of
from paragone_workbench.conversation.variables import fill
from paragone_workbench.experiments.suite_file import SuiteEntry, cells, csv_rows, entry_of, parse_json
from paragone_workbench.files.other_programs import role_of

_HINT = "Name a file of promptfoo."

_CELL = re.compile(
    r"(not-)?(i?contains(?:-[a-z]+)?|(?:is|context|model-graded|perplexity|rouge|trace)-[a-z-]+|answer-relevance|bleu|"
    r"classifier|cost|equals|eval|factuality|fn|g-eval|gleu|grade|guardrails|javascript|latency|levenshtein|llm-rubric|"
    r"meteor|moderation|perplexity|pi|python|regex|ruby|similar|starts-with|webhook|word-count)"
    r"(?:\((\d+(?:\.\d+)?)\))?(?::(.*))?",
    re.DOTALL,
)
"""A cell `__expected`: a type of assertion, a threshold, and a value. Any other cell is the expected answer."""


def read_yaml(path: Path) -> Json:
    """Return the content of a file in YAML. Raises InputError."""
    try:
        import yaml  # an extra
    except ModuleNotFoundError as error:
        command = install_command("pyyaml")
        raise InputError(
            "Files in YAML need the package pyyaml.", hint=f"Install it with: {command}"
        ) from error

    class Loader(yaml.SafeLoader):  # type: ignore[misc]  # yaml has no types
        """YAML 1.2, as promptfoo reads it: `yes` and dates are texts."""

        yaml_implicit_resolvers = {  # noqa: RUF012 (as in the base class)
            first: [(tag, form) for tag, form in found if not tag.endswith((":bool", ":timestamp"))]
            for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
        }

    Loader.add_implicit_resolver("tag:yaml.org,2002:bool", re.compile("true|false", re.IGNORECASE), [*"tTfF"])
    text = text_of(path, hint=_HINT, largest=files.LARGEST_TEXT)
    try:
        data: Json = yaml.load(text, Loader)  # noqa: S506 (derived from SafeLoader)
        return parse_json(json.dumps(data))
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not valid YAML: {error}.") from error


def is_configuration(data: Json) -> bool:
    return bool(value_at(data, "prompts")) and ("tests" in object_at(data) or "providers" in object_at(data))


def tests_of(path: Path, data: Json, refuse: Callable[[str], object]) -> Iterator[Json]:
    """Yield each test of a configuration for each of its prompts. `refuse` gets a message for each malformed row of the
    CSV files that it names. Raises InputError if such a file cannot be read."""
    texts = [text for it in _listed(data, "prompts") for text in _prompts(path, it)]
    shared = object_at(data, "defaultTest")
    for test in _tests(path, _listed(data, "tests"), refuse):
        given = {**object_at(shared, "vars"), **object_at(test, "vars")}
        several = {name: value if isinstance(value, list) else [value] for name, value in given.items()}
        for values in itertools.product(*several.values()):
            for text in texts:
                yield {
                    **object_at(test),
                    "prompt": text,
                    "options": {**object_at(shared, "options"), **object_at(test, "options")},
                    "vars": dict(zip(several, values, strict=True)),
                    "assert": [*list_at(shared, "assert"), *list_at(test, "assert")],
                }


def _listed(data: Json, name: str) -> Sequence[Json]:
    found = value_at(data, name)
    return [found] if isinstance(found, str) else list_at(found)


def _named(path: Path, name: str, *endings: str) -> Path:
    """Return the file that a configuration names. Raises InputError for a file of another kind, or outside of the
    configuration's folder."""
    found = (path.parent / name.removeprefix("file://")).resolve()
    if found.suffix not in endings or not found.is_relative_to(path.parent.resolve()):
        raise InputError(
            f"{path} names {name}, which is not imported.",
            hint=f"It must be in the same folder, and its name must end in {' or '.join(endings)}.",
        )
    return found


def _prompts(path: Path, item: Json) -> Iterator[str]:
    text = item if isinstance(item, str) else text_at(item, "raw") or text_at(item, "id")
    if text.startswith("file://"):
        text = text_of(_named(path, text, ".txt", ".md", ".json"), hint=_HINT, largest=files.LARGEST_TEXT)
        yield from filter(None, map(str.strip, re.split(r"^---$", text, flags=re.MULTILINE)))
    else:
        yield text


def _tests(path: Path, listed: Iterable[Json], refuse: Callable[[str], object]) -> Iterator[Json]:
    for item in listed:
        if not isinstance(item, str):
            yield item
        elif (file := _named(path, item, ".csv", ".yaml", ".yml")).suffix == ".csv":
            for line, read in rows_of(file):
                try:
                    yield test_of_row(read())
                except InputError as error:
                    refuse(f"{file.name}:{line}: {error}")
        else:
            yield from list_at(read_yaml(file))


def rows_of(path: Path) -> Iterator[tuple[int, Callable[[], Mapping[str, Json]]]]:
    """Yield the line of each row of a CSV file, and a function that returns its cells by the names of their columns,
    or raises InputError. Raises InputError if the file cannot be read."""
    header: Sequence[str] = []
    with files.reading(path, hint=_HINT) as file, io.TextIOWrapper(file, "utf-8-sig", newline="") as text:
        try:
            for line, row in csv_rows(text):
                if header:
                    yield line, partial(cells, header, row)
                elif isinstance(row, list):
                    header = row
        except UnicodeDecodeError as error:
            raise InputError(f"{path} is not UTF-8 text.", hint="Save it as UTF-8.") from error


def test_of_row(row: Mapping[str, Json]) -> dict[str, Json]:
    """Return the test that the cells of a row describe. Columns whose names begin with two underscores have a meaning
    for promptfoo, the others are variables."""
    own = {name: text_at(row, name).strip() for name in row if name.startswith("__")}
    metadata: dict[str, Json] = {}
    for name, cell in own.items():
        kind, _, key = name.partition(":")
        if kind == "__metadata" and key.endswith("[]"):
            metadata[key[:-2]] = [it.replace("\\,", ",") for it in re.split(r"(?<!\\),", cell)]
        elif kind == "__metadata":
            metadata[key] = cell
    return {
        "vars": {name: value for name, value in row.items() if name not in own},
        "assert": [_of_cell(cell) for name, cell in own.items() if cell and name.startswith("__expected")],
        "options": {"prefix": own.get("__prefix", ""), "suffix": own.get("__suffix", "")},
        "metadata": metadata,
    }


def _of_cell(cell: str) -> Json:
    match = _CELL.fullmatch(cell)
    if match is None:
        return {"type": "equals", "value": cell}
    threshold = None if match[3] is None else float(match[3])
    return {"type": f"{match[1] or ''}{match[2]}", "value": match[4] or "", "threshold": threshold}


def entry_of_test(test: Json, skipped: Counter[str]) -> SuiteEntry:
    """Return the prompt of a test with its variables filled in. Counts in `skipped` what a suite does not have. Raises
    InputError, for example for a variable without a value."""
    values = object_at(test, "vars")
    prompt = text_at(test, "options", "prefix") + text_at(test, "prompt") + text_at(test, "options", "suffix")
    if "{%" in prompt:
        raise InputError(
            "The prompt has a statement {% … %}.", hint="Write {{ name }} or {{ a if b else c }}."
        )
    written: Sequence[Json] = [{"role": "user", "content": prompt}]
    if prompt.lstrip().startswith("[{"):
        written = list_at(parse_json(prompt))
    entry = entry_of([_message(it, values) for it in written])
    assertions: list[dict[str, object]] = []
    for given in list_at(test, "assert"):
        if found := _assertion(given, values):
            assertions.append(found)
        else:
            skipped[f"assertions of the type {text_at(given, 'type') or 'unknown'}"] += 1
    entry.assertions = assertions or None
    entry.tags = tags_of(object_at(test, "metadata")) or None
    return entry


def _message(written: Json, values: Mapping[str, Json]) -> Message:
    return Message(role=role_of(text_at(written, "role")), text=fill(text_at(written, "content"), values))


def tags_of(metadata: Mapping[str, Json]) -> list[str]:
    """Return a tag `name:value` for each short text of metadata, so that results can be shown by subject or difficulty."""
    texts = ((name, it) for name in metadata for it in _listed(metadata, name))
    return [f"{name}:{it}" for name, it in texts if isinstance(it, str) and 0 < len(it) <= 40]


def _assertion(given: Json, values: Mapping[str, Json]) -> dict[str, object]:
    """Return the assertion of a suite that checks what an assertion of promptfoo checks; empty if there is none."""
    full = text_at(given, "type")
    name = full.removeprefix("not-")
    value = value_at(given, "value")
    texts = value if isinstance(value, list) else value.split(",") if isinstance(value, str) else []
    text = (
        fill(value.strip(), values) if isinstance(value, str) else "" if value is None else json.dumps(value)
    )
    case: dict[str, object] = {"ignore_case": True} if name.startswith("icontains") else {}
    found: dict[str, object] = {}
    match name:
        case "equals":
            found = {"type": "equals", "value": text}
        case "contains" | "icontains" if text:
            found = {"type": "contains", "value": text, **case}
        case "contains-all" | "contains-any" | "icontains-all" | "icontains-any" if texts:
            wanted = [fill(str(it).strip(), values) for it in texts]
            found = {"type": "contains", "value": wanted, "match": name[-3:], **case}
        case "regex":
            found = {"type": "regex", "pattern": text}
        case "starts-with" if text:
            found = {"type": "starts_with", "value": text}
        case "is-json":
            schema = parse_json(text) if text else None
            found = {"type": "json_schema", "schema": schema} if schema else {"type": "json"}
        case "contains-json":
            schema = parse_json(text) if text else None
            found = {"type": "contains_json", **({"schema": schema} if schema else {})}
        case "python" if text.startswith("file://"):
            file, _, function = text.removeprefix("file://").partition(":")
            found = {"type": "python", "file": file, "function": function or "get_assert"}
            if (least := number_at(given, "threshold")) is not None:
                found["minimum"] = least
        case "word-count":
            exact = value if isinstance(value, int) else None
            bounds = {"minimum": count_at(value, "min") or exact, "maximum": count_at(value, "max") or exact}
            found = {"type": "length", **{bound: it for bound, it in bounds.items() if it is not None}}
        case "latency" if (limit := number_at(given, "threshold")) is not None:
            found = {"type": "latency", "max_total_s": limit / 1000}
    return {**found, "not": True} if found and full != name else found
