"""Suites in TOML: `[[prompts]]`, and `system` and `[[assertions]]` for all prompts."""

from __future__ import annotations

import datetime
import math
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from paragone import InputError, Json, ParagoneError
from paragone_workbench.config.toml_file import TomlDocument, parse_toml
from paragone_workbench.engines.definitions import suggest
from paragone_workbench.experiments.suites.assertions import AssertionCatalog
from paragone_workbench.experiments.suites.records import FileDefaults, Record, assertion_spec, record_of
from paragone_workbench.experiments.suites.suite import AssertionSpec, SuiteProblem

KEYS = ("prompts", "system", "assertions")


class TomlSuite:
    """The content of a suite file in TOML."""

    def __init__(self, path: Path, text: str) -> None:
        """Parse the file. Raises InputError, with the line, for invalid TOML."""
        self._document: TomlDocument = parse_toml(path, text)
        self.problems: list[SuiteProblem] = []
        """The problems outside of `[[prompts]]`."""
        for key in self._document.data:
            if key not in KEYS:
                self._wrong(f"There is no key {key!r}. {suggest(key, KEYS)}", key)

    def defaults(self, system: str, catalog: AssertionCatalog) -> FileDefaults:
        """Return the defaults of all prompts. `system` applies if the file has no system prompt."""
        own = self._document.data.get("system")
        if not (own is None or isinstance(own, str)):
            self._wrong("'system' must be text.", "system")
            own = None
        specs: list[AssertionSpec] = []
        for index, item in enumerate(self._list("assertions")):
            try:
                spec = assertion_spec(_plain(item))
                catalog.prepared(spec)
            except ParagoneError as error:
                self._wrong(str(error), "assertions", index)
            else:
                specs.append(spec)
        return FileDefaults(system=own, given_system=system, assertions=tuple(specs))

    def records(self) -> Iterator[Record | SuiteProblem]:
        """Yield the records, and a problem for each malformed record."""
        for index, item in enumerate(self._list("prompts")):
            line = self._document.line("prompts", index)
            mistake = "A prompt must be a table: begin it with [[prompts]]."
            yield record_of(line, partial(_plain, item), mistake=mistake)

    def _list(self, key: str) -> list[object]:
        items = self._document.data.get(key, [])
        if isinstance(items, list):
            return items
        self._wrong(f"{key!r} must be a list of tables: begin each with [[{key}]].", key)
        return []

    def _wrong(self, sentence: str, *key: str | int) -> None:
        self.problems.append(SuiteProblem(line=self._document.line(*key), sentence=sentence))


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
