"""Suites in JSONL: an object a line."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from paragone import InputError
from paragone_workbench.experiments.suites.records import Record, parse_json
from paragone_workbench.experiments.suites.suite import SuiteProblem

__all__ = ["jsonl_records"]


def jsonl_records(text: str) -> Iterator[Record | SuiteProblem]:
    """Yield the records of a text, and a problem for each malformed line. Empty lines do not count."""
    # Not splitlines: it splits at characters that strings in JSON may contain.
    for line, content in enumerate(text.split("\n"), start=1):
        if not content.strip():
            continue
        try:
            values = parse_json(content)
        except InputError as error:
            yield SuiteProblem(line=line, sentence=str(error))
            continue
        if isinstance(values, Mapping):
            yield Record(line=line, values=values)
        else:
            yield SuiteProblem(
                line=line, sentence='It must be an object, such as {"prompt": "…"}, on one line.'
            )
