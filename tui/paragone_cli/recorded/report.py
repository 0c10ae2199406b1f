"""`paragone report`: writes an experiment or a conversation into a file, for reading or for other programs."""

from __future__ import annotations

import gc
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from paragone import InputError
from paragone.wording import size_text
from paragone_cli.command_line.arguments import Arguments, command, force_switch, option, word
from paragone_cli.command_line.output import note
from paragone_cli.command_line.saved import opened_store
from paragone_workbench.engines.registry import Registry
from paragone_workbench.exporting.report import write_report
from paragone_workbench.reporting.file import format_of, newest
from paragone_workbench.store.store import Store


@dataclass(frozen=True, kw_only=True)
class ReportArguments(Arguments):
    """The experiment or conversation of the report, and the report's file."""

    subject: str | None = word(
        "ID",
        "an experiment, such as e3, or a conversation, such as c7; without an id, the newest are listed",
        nargs="?",
    )
    to: Path | None = option(
        "--to FILE",
        "the file; its name ends in .html (a page to read), .md (Markdown), .csv (a row for each run) "
        "or .json (everything, for other programs)",
        type=Path,
    )
    force: bool = force_switch()


@command(ReportArguments)
def report(args: ReportArguments) -> int:
    """Write the file."""
    if args.subject is None:
        raise _without_subject()
    if args.to is None:
        raise InputError(
            "A report needs a file to be written to.",
            hint=f"Write: paragone report {args.subject} --to report.html",
        )
    format_of(args.to, replaces=args.force)  # a wrong file name is reported before the history is opened
    gc.enable()  # `main` turned it off for the imports
    with opened_store() as store:
        size = write_report(store, args.subject, args.to, Registry(note).find, replaces=args.force)
    note(f"{args.to} is written ({size_text(size)}).")
    return 0


def _without_subject() -> InputError:
    """Return the error for a command without an id. Raises StoreError."""
    with closing(Store.open()) as store:
        return InputError(
            "No experiment and no conversation was named.",
            hint=f"Write for example: paragone report e3 --to report.html. {newest(store)}",
        )
