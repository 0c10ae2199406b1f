"""Writes a report into a file, in the format of its suffix."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

from paragone import InputError
from paragone.texts import install_command
from paragone_workbench.ids import parse_id
from paragone_workbench.output_file import check_target, replacing
from paragone_workbench.reporting.content import ReportContent, date_text
from paragone_workbench.store.experiment_records import Experiment
from paragone_workbench.store.records import SavedConversation
from paragone_workbench.store.store import Store
from paragone_workbench.text import visible

if TYPE_CHECKING:
    from jinja2 import Environment


def html_pieces(report: ReportContent, now: float) -> Iterator[str]:
    """Yield the page. `now` is the time of writing, in seconds since 1970."""
    template = _environment().get_template("report.html.j2")
    return template.generate(report=report, written=date_text(now), version=version("paragone"))


@functools.cache
def _environment() -> Environment:
    """Return the environment, which keeps the compiled template. Raises InputError if jinja2 is not installed."""
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ModuleNotFoundError as error:
        if error.name != "jinja2":
            raise
        raise InputError(
            "Reports in HTML need the package jinja2, which is not installed.",
            hint=f"Install it with: {install_command('experiments')}",
        ) from error
    return Environment(
        loader=PackageLoader("paragone_workbench.reporting", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


ReportFormat: TypeAlias = Literal["html", "md", "csv", "json"]
"""The suffixes of reports' file names."""
_SUGGESTED = 5
"""Number of conversations that the message about an unknown id lists."""


def format_of(path: Path, *, replaces: bool = False) -> ReportFormat:
    """Return the format of a file by its suffix. Raises InputError for an unknown suffix, or if the file cannot be written.

    `replaces` says that an existing file may be replaced.
    """
    check_target(path, replaces=replaces)
    match path.suffix[1:].lower():
        case "html" | "md" | "csv" | "json" as found:
            return found
    raise InputError(
        f"The format of {path} is unknown: the name must end in .html, .md, .csv or .json.",
        hint="For a page to read in a browser, write --to report.html.",
    )


def write(path: Path, pieces: Iterable[str]) -> int:
    """Write the pieces into a file, replacing an existing one, and return the file's size in bytes. Raises ParagoneError."""
    with replacing(path) as file:
        for piece in pieces:
            file.write(piece)
    return path.stat().st_size


def find_subject(store: Store, text: str) -> Experiment | SavedConversation:
    """Return the experiment (`e3`) or the conversation (`c7`) with this id.

    Raises InputError, with the ids of the newest subjects, for an unknown id, and StoreError if the history cannot be read.
    """
    found = parse_id(text)
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
    """Return a hint with the ids of the newest experiments and conversations."""
    found = store.conversations(_SUGGESTED)
    return store.experiments.newest([f"c{summary.number} ({summary.title})" for summary in found])
