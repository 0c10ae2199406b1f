"""`paragone history export`: writes conversations into a file that people read, or that can be imported."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

from paragone import InputError
from paragone.wording import counted, size_text
from paragone_cli.command_line.output import note, warn
from paragone_cli.command_line.saved import conversation_id, document_pieces, opened_store
from paragone_cli.recorded.history import HistoryArguments
from paragone_workbench.experiments.report.file import format_of, write
from paragone_workbench.store.errors import StoreError
from paragone_workbench.store.store import Store

_PAGE = 1000
"""Conversations that are listed at once."""


def history_export(args: HistoryArguments) -> int:
    """Write the file. Returns the exit code."""
    if args.to is None:
        raise InputError(
            "An export needs a file to be written to.",
            hint="Write for example: paragone history export c7 --to chat.md",
        )
    if args.to.suffix.lower() not in (".json", ".md"):
        raise InputError(
            f"Conversations are exported as .json or .md, not as {args.to.suffix or 'a file without an ending'}.",
            hint="`paragone report ID --to FILE.html` writes one conversation as a page.",
        )
    file_format = format_of(args.to)
    if args.all == bool(args.operands):
        raise InputError("Name the conversations to export, such as c7, or write --all.")
    with opened_store() as store:
        listed = list(_all(store)) if args.all else list(map(conversation_id, args.operands))
        numbers = [number for number in listed if _is_whole(store, number)] if args.all else listed
        if not numbers:
            raise InputError("The history has no conversations yet.")
        pieces = _documents(numbers) if file_format == "json" else _markdown(store, numbers)
        size = write(args.to, pieces)
    note(f"{args.to} has {counted(len(numbers), 'conversation')} ({size_text(size)}).")
    return int(numbers != listed)


def _is_whole(store: Store, number: int) -> bool:
    """Whether a conversation can be read; if not, print why: the others are exported."""
    try:
        store.load(number)
    except StoreError as error:
        warn(f"c{number} is left out. {error}")
        return False
    return True


def _all(store: Store) -> Iterator[int]:
    last = None
    while page := store.conversations(_PAGE, last):
        yield from (summary.number for summary in page)
        last = page[-1]


def _markdown(store: Store, numbers: Sequence[int]) -> Iterator[str]:
    """Yield a report of each conversation."""
    from paragone_workbench.engines.registry import Registry
    from paragone_workbench.experiments.report.markdown import markdown_pieces
    from paragone_workbench.experiments.report.subjects.gathering import report_of

    find = Registry(note).find
    for position, number in enumerate(numbers):
        yield "\n" if position else ""
        yield from markdown_pieces(report_of(store, store.load(number), find), time.time())


def _documents(numbers: Sequence[int]) -> Iterator[str]:
    """Return the document of one conversation, or one document of several, in pieces."""
    from paragone_workbench.experiments.replaying.document import (
        document_of_conversation,
        document_of_conversations,
    )

    if len(numbers) == 1:
        return document_pieces(lambda history: document_of_conversation(history, numbers[0]))
    return document_pieces(lambda history: document_of_conversations(history, numbers))
