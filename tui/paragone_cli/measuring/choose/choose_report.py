"""The report that `choose --to` writes. The same command replaces its own report, as long as nobody changed the file."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from paragone.regular_file import reading
from paragone.wording import size_text
from paragone_cli.command_line.output import note
from paragone_cli.command_line.saved import opened_store
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.output_file import FileExists
from paragone_workbench.experiments.running.request import SuiteRequest
from paragone_workbench.exporting.report import write_report
from paragone_workbench.reporting.file import format_of


def check_report(path: Path, request: SuiteRequest, *, force: bool) -> None:
    """Check before hours of measurements that the report can be written. Raises ParagoneError.

    An existing file may be replaced if it is an unchanged report of the same choice, or if `force` is true.
    """
    try:
        format_of(path, replaces=force)
    except FileExists:
        if not _is_own(path, request):
            raise
        format_of(path, replaces=True)


def write_choice(path: Path, experiment: int, registry: Registry) -> None:
    """Write the report of a choice, and save the digest of the file. Raises ParagoneError."""
    with opened_store() as store:
        size = write_report(store, f"e{experiment}", path, registry.find, replaces=True)
        if (choice := store.experiments.choice(experiment)) is not None:
            store.experiments.save_choice(experiment, replace(choice, report=_digest(path)))
    note(f"{path} is written ({size_text(size)}).")


def _is_own(path: Path, request: SuiteRequest) -> bool:
    """Return whether a file is an unchanged report of a choice among these engines, or some of them, by this suite."""
    names = {engine.name for engine in request.engines}
    found = _digest(path)
    with opened_store() as store:
        choices = [
            store.experiments.choice(experiment.number)
            for experiment in store.experiments.all()
            if experiment.name == request.suite.name
            and names.issuperset(it.name for it in experiment.engines)
        ]
    return any(choice is not None and choice.report == found for choice in choices)


def _digest(path: Path) -> str:
    with reading(path, hint="Name another file.") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
