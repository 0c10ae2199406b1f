"""Write conversations and reports into files."""

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from paragone import InputError
from paragone.texts import counted, size_text
from paragone_workbench.engines.definitions import BackendLookup
from paragone_workbench.paths import check_target
from paragone_workbench.reporting.file import ReportFormat, find_subject, format_of, write
from paragone_workbench.store import StoreError
from paragone_workbench.store.experiments import Experiment
from paragone_workbench.store.records import SavedConversation
from paragone_workbench.store.store import Store


class Exported(NamedTuple):
    path: Path
    numbers: tuple[int, ...]
    left_out: tuple[str, ...]
    """For each conversation that was skipped, a message with the reason."""
    size: int

    def __str__(self) -> str:
        return f"{self.path} has {counted(len(self.numbers), 'conversation')} ({size_text(self.size)})."


def export_conversations(
    store: Store,
    path: Path,
    numbers: Sequence[int] | None,
    find: BackendLookup,
    *,
    replaces: bool,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Exported:
    """Write these conversations, or all undamaged ones, one at a time, into a file that only the user can read: as
    `.jsonl` or `.json` (complete, for import) or `.md`. `progress` gets how many are done, and the total. Blocks.
    Raises ParagoneError."""
    suffix = path.suffix.lower()
    if suffix not in (".jsonl", ".json", ".md"):
        raise InputError(
            "Conversations are exported as .jsonl, .json or .md, "
            f"not as {path.suffix or 'a file without an ending'}.",
            hint="`paragone report ID --to FILE.html` writes one conversation as a page.",
        )
    check_target(path, replaces=replaces)
    listed = store.numbers() if numbers is None else numbers
    if not listed:
        raise InputError("The history has no conversations yet.")
    left_out: list[str] = []
    written: list[int] = []

    def conversations() -> Iterator[SavedConversation]:
        for done, number in enumerate(listed, 1):
            try:
                saved = store.load(number)
            except StoreError as error:
                if numbers is not None:
                    raise
                left_out.append(f"c{number} is skipped. {error}")
                continue
            yield saved
            written.append(number)
            progress(done, len(listed))

    if suffix == ".md":
        pieces = _markdown(store, conversations(), find)
    else:
        from paragone_workbench.experiments.document import FORMAT, documents_of_conversations

        pieces = (f"{line}\n" for line in documents_of_conversations(store, conversations(), find))
        if suffix == ".json" and len(listed) > 1:
            head = f'{{"paragone_document": {FORMAT}, "kind": "conversations", "conversations": [\n'
            pieces = _joined(head, pieces, "]}\n")
    size = write(path, pieces, mode=0o600)
    return Exported(path, tuple(written), tuple(left_out), size)


def _joined(head: str, items: Iterator[str], end: str) -> Iterator[str]:
    yield head
    for position, item in enumerate(items):
        yield f",{item}" if position else item
    yield end


def _markdown(store: Store, conversations: Iterable[SavedConversation], find: BackendLookup) -> Iterator[str]:
    from paragone_workbench.reporting.conversation import conversation_report
    from paragone_workbench.reporting.file import report_pieces

    for position, saved in enumerate(conversations):
        yield "\n" if position else ""
        yield from report_pieces(conversation_report(saved, find, store), "md", time.time())


def write_report(store: Store, subject_id: str, path: Path, find: BackendLookup, *, replaces: bool) -> int:
    """Write a report of the experiment or conversation with an id such as `e3`. Returns its size in bytes. Raises
    ParagoneError."""
    return write(path, _pieces(store, subject_id, format_of(path, replaces=replaces), find))


def _pieces(store: Store, subject_id: str, file_format: ReportFormat, find: BackendLookup) -> Iterator[str]:
    """Yield the content of the file. Only the modules and libraries of the file's format are imported."""
    subject = find_subject(store, subject_id)
    if file_format == "json":
        from paragone_workbench.experiments import document

        if isinstance(subject, Experiment):
            yield from document.document_of_experiment(store, subject.number)
        else:
            yield from document.conversation_document(
                subject, find, store, store.votes.all(skips_damaged=True)
            )
        return
    from paragone_workbench.reporting import file

    if file_format == "csv":
        yield from file.csv_pieces(file.rows_of(store, subject, find))
        return
    from paragone_workbench.reporting.conversation import conversation_report
    from paragone_workbench.reporting.experiment import experiment_report

    if isinstance(subject, Experiment):
        report = experiment_report(store, subject, find)
    else:
        report = conversation_report(subject, find, store)
    yield from file.report_pieces(report, file_format, time.time())
