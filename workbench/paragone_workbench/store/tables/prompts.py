"""Finds earlier prompts that the user may send again, and saves the draft: the prompt that was not sent."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice

from paragone_workbench.store.errors import decoding
from paragone_workbench.store.file.database import Database, Row, clean
from paragone_workbench.store.records import DraftRecord
from paragone_workbench.store.tables.filters import GRAM, phrase
from paragone_workbench.store.tables.json_columns import list_in, object_in, text_in

_READ = 5_000
"""Largest number of prompts that a search reads: many prompts may have the same text."""
_WRITTEN = """
    substr(text, 1, length(text)
        - (SELECT coalesce(sum(length + 2), 0) FROM attached_file WHERE prompt_id = prompt.id))
"""
"""SQL for what the user wrote: the text without the sections of attached files and the empty line before each."""
_ALL = f"SELECT {_WRITTEN} FROM prompt ORDER BY number DESC"  # noqa: S608 (constants)
_WITH_WORD = f"""
    SELECT {_WRITTEN} FROM prompt WHERE number IN (SELECT rowid FROM prompt_search WHERE prompt_search MATCH ?)
    ORDER BY number DESC
"""  # noqa: S608 (constants)


def prompts(database: Database, words: str, limit: int) -> tuple[str, ...]:
    terms = sorted(clean(words).replace("\0", " ").casefold().split(), key=len, reverse=True)
    return tuple(islice(_distinct(database, terms), limit))


def _distinct(database: Database, terms: list[str]) -> Iterator[str]:
    indexed = [phrase(term) for term in terms[:1] if len(term) >= GRAM]
    rows = database.stream(_WITH_WORD if indexed else _ALL, *indexed)
    seen: set[str] = set()
    for (text,) in islice(rows, _READ):
        # A damaged record may have another type than text.
        if not isinstance(text, str) or not text or text in seen:
            continue
        if all(term in text.casefold() for term in terms):
            seen.add(text)
            yield text


def keep_draft(database: Database, draft: DraftRecord, owner_id: int) -> None:
    if not draft.text:
        database.run("DELETE FROM draft WHERE owner_id = ?", owner_id)
        return
    database.run("DELETE FROM draft")
    database.run(
        "INSERT INTO draft (owner_id, text, pasted, named, edits) VALUES (?, ?, ?, ?, ?)",
        owner_id,
        clean(draft.text),
        json.dumps(dict(draft.pasted)),
        json.dumps(draft.named),
        draft.edits,
    )


def take_draft(database: Database, owner_id: int) -> Row | None:
    """Assign the newest draft that belongs to no instance to the instance `owner_id`, and return the draft's row, or None."""
    newest = "SELECT max(id) FROM draft WHERE owner_id IS NULL"
    rows = database.rows(
        f"UPDATE draft SET owner_id = ? WHERE id = ({newest}) RETURNING text, pasted, named, edits",  # noqa: S608 (a constant)
        owner_id,
    )
    return next(iter(rows), None)


def draft_of(row: Row) -> DraftRecord:
    text, pasted, named, edits = row
    with decoding("The prompt that was not sent"):
        return DraftRecord(
            text=text_in(text),
            pasted={mark: text_in(whole) for mark, whole in object_in(pasted).items()},
            named=tuple(map(text_in, list_in(named))),
            edits=text_in(edits),
        )
