"""Write a report of an experiment or a conversation into a file, whose suffix sets the format."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from paragone_workbench.engines.definitions import BackendLookup
from paragone_workbench.reporting.file import ReportFormat, find_subject, format_of, write
from paragone_workbench.store.experiment_records import Experiment
from paragone_workbench.store.records import SavedConversation
from paragone_workbench.store.store import Store


def write_report(store: Store, subject_id: str, path: Path, find: BackendLookup, *, replaces: bool) -> int:
    """Write a report of the experiment or conversation with an id, such as `e3` or `c7`, and return the file's size in bytes.

    `find` returns the backend with a given name. `replaces` says whether an existing file may be replaced. Raises ParagoneError.
    """
    return write(path, _pieces(store, subject_id, format_of(path, replaces=replaces), find))


def _pieces(store: Store, subject_id: str, file_format: ReportFormat, find: BackendLookup) -> Iterator[str]:
    """Yield the content of the file. Only the modules and libraries of the file's format are imported."""
    subject = find_subject(store, subject_id)
    match file_format:
        case "json":
            yield from _document(subject, find)
        case "csv":
            from paragone_workbench.reporting.runs_table import csv_pieces, rows_of

            yield from csv_pieces(rows_of(store, subject, find))
        case "html" | "md":
            from paragone_workbench.reporting.conversation import conversation_report
            from paragone_workbench.reporting.experiment import experiment_report

            if file_format == "html":
                from paragone_workbench.reporting.page import html_pieces as pieces
            else:
                from paragone_workbench.reporting.markdown import markdown_pieces as pieces
            if isinstance(subject, Experiment):
                report = experiment_report(store, subject, find)
            else:
                report = conversation_report(subject, find, store)
            yield from pieces(report, time.time())


def _document(subject: Experiment | SavedConversation, find: BackendLookup) -> Iterator[str]:
    from paragone_workbench.experiments.replaying.document import document_of_experiment
    from paragone_workbench.exporting.conversations import document_pieces, documents

    if isinstance(subject, Experiment):
        return document_pieces(lambda history: document_of_experiment(history, subject.number))
    assert subject.conversation.number is not None  # a saved conversation has a number
    return documents([subject.conversation.number], find)
