"""`paragone report`: writes an experiment or a conversation into a file, for reading or for other programs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from paragone import InputError
from paragone.wording import size_text
from paragone_cli.command_line.arguments import Arguments, command, option, word
from paragone_cli.command_line.output import note
from paragone_cli.command_line.saved import opened_store
from paragone_tui.garbage import begin_collecting
from paragone_workbench.engines.registry import Registry
from paragone_workbench.reporting.file import Format, format_of, write
from paragone_workbench.store.experiment_records import Experiment
from paragone_workbench.store.records import SavedConversation
from paragone_workbench.store.store import Store


@dataclass(frozen=True, kw_only=True)
class ReportArguments(Arguments):
    """What the report is about, and the file."""

    subject: str | None = word(
        "ID",
        "an experiment, such as e3, or a conversation, such as c7; without one, the newest are named",
        nargs="?",
    )
    to: Path | None = option(
        "--to FILE",
        "the file; its name ends in .html (a page to read), .md (Markdown), .csv (a row for each run) "
        "or .json (everything, for other programs). An earlier file of this name is replaced",
        type=Path,
    )


@command(ReportArguments)
def report(args: ReportArguments) -> int:
    """Write the file."""
    if args.subject is None:
        raise _without_subject()
    if args.to is None:
        raise InputError(
            "A report needs a file to be written to.",
            hint=f"Name one: paragone report {args.subject} --to report.html",
        )
    file_format = format_of(args.to)
    begin_collecting()
    with opened_store() as store:
        size = write(args.to, _pieces(store, args.subject, file_format))
    note(f"{args.to} is written ({size_text(size)}).")
    return 0


def _without_subject() -> InputError:
    """Return the error for a command without an id. Raises StoreError."""
    from paragone_workbench.reporting.subjects.subject import newest

    with closing(Store.open()) as store:
        return InputError(
            "No experiment and no conversation was named.",
            hint=f"Write for example: paragone report e3 --to report.html. {newest(store)}",
        )


def _pieces(store: Store, subject_id: str, file_format: Format) -> Iterator[str]:
    """Yield the content of the file. Modules of one format, and their libraries, are imported for it only."""
    from paragone_workbench.reporting.subjects.subject import find_subject, rows_of

    subject = find_subject(store, subject_id)
    match file_format:
        case "json":
            yield from _document(subject)
        case "csv":
            from paragone_workbench.reporting.table import csv_pieces

            yield from csv_pieces(rows_of(store, subject))
        case "html" | "md":
            from paragone_workbench.reporting.subjects.gathering import report_of

            if file_format == "html":
                from paragone_workbench.reporting.page import html_pieces as pieces
            else:
                from paragone_workbench.reporting.markdown import markdown_pieces as pieces
            yield from pieces(report_of(store, subject, Registry(note).find), time.time())


def _document(subject: Experiment | SavedConversation) -> Iterator[str]:
    """Return the portable document, in pieces."""
    from paragone_workbench.experiments.replaying.document import (
        document_of_conversation,
        document_of_experiment,
    )
    from paragone_workbench.exporting.conversations import document_pieces

    if isinstance(subject, Experiment):
        return document_pieces(lambda history: document_of_experiment(history, subject.number))
    number = subject.conversation.number
    assert number is not None  # it is saved
    return document_pieces(lambda history: document_of_conversation(history, number))
