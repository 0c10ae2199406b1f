"""Write conversations into a file to read or to import."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from paragone import InputError
from paragone.wording import counted, size_text
from paragone_workbench.engines.definitions import BackendLookup
from paragone_workbench.reporting.file import format_of, write
from paragone_workbench.store import History, Store, StoreError

_PAGE = 1000
"""Number of conversations that one query of the history returns."""


class Exported(NamedTuple):
    path: Path
    numbers: tuple[int, ...]
    """The numbers of the conversations in the file."""
    left_out: tuple[str, ...]
    """For each conversation that was left out, a sentence that says why."""
    size: int
    """Size of the file in bytes."""

    def __str__(self) -> str:
        return f"{self.path} has {counted(len(self.numbers), 'conversation')} ({size_text(self.size)})."


def export_conversations(
    store: Store,
    path: Path,
    numbers: Sequence[int] | None,
    find: BackendLookup,
    *,
    replaces: bool,
) -> Exported:
    """Write the conversations with these numbers into a file; all conversations if `numbers` is None.

    The suffix of the path sets the format: `.json` (complete, for import) or `.md` (to read). `find` returns the backend with
    a given name. `replaces` says whether an existing file may be replaced. If `numbers` is None, damaged conversations are
    left out. Blocks. Raises ParagoneError.
    """
    if path.suffix.lower() not in (".json", ".md"):
        raise InputError(
            f"Conversations are exported as .json or .md, not as {path.suffix or 'a file without an ending'}.",
            hint="`paragone report ID --to FILE.html` writes one conversation as a page.",
        )
    file_format = format_of(path, replaces=replaces)
    left_out: list[str] = []
    if numbers is None:
        numbers = [number for number in _all(store) if _is_whole(store, number, left_out)]
        if not numbers:
            raise InputError("The history has no conversations yet.")
    pieces = documents(numbers, find) if file_format == "json" else _markdown(store, numbers, find)
    return Exported(path, tuple(numbers), tuple(left_out), write(path, pieces))


def _is_whole(store: Store, number: int, left_out: list[str]) -> bool:
    """Return whether a conversation can be read; if it cannot, add a sentence with the reason to `left_out`."""
    try:
        store.load(number)
    except StoreError as error:
        left_out.append(f"c{number} is left out. {error}")
        return False
    return True


def _all(store: Store) -> Iterator[int]:
    last = None
    while page := store.conversations(_PAGE, last):
        yield from (summary.number for summary in page)
        last = page[-1]


def _markdown(store: Store, numbers: Sequence[int], find: BackendLookup) -> Iterator[str]:
    from paragone_workbench.reporting.conversation import conversation_report
    from paragone_workbench.reporting.markdown import markdown_pieces

    for position, number in enumerate(numbers):
        yield "\n" if position else ""
        yield from markdown_pieces(conversation_report(store.load(number), find, store), time.time())


def documents(numbers: Sequence[int], find: BackendLookup) -> Iterator[str]:
    """Return one document with all these conversations, in pieces."""
    from paragone_workbench.experiments.replaying.document import (
        document_of_conversation,
        document_of_conversations,
    )

    if len(numbers) == 1:
        return document_pieces(lambda history: document_of_conversation(history, numbers[0], find))
    return document_pieces(lambda history: document_of_conversations(history, numbers, find))


def document_pieces(make: Callable[[History], AsyncIterator[str]]) -> Iterator[str]:
    """Yield the pieces of the document that `make` returns for the history. Call this outside of an event loop. Raises ParagoneError."""
    with asyncio.Runner() as runner:
        history = runner.run(History.open())
        try:
            pieces = make(history)
            while (piece := runner.run(_next(pieces))) is not None:
                yield piece
        finally:
            runner.run(history.close())


async def _next(pieces: AsyncIterator[str]) -> str | None:
    return await anext(pieces, None)
