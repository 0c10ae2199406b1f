"""Finds earlier prompts, to be sent again."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING

from paragone_workbench.store.file.database import clean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from paragone_workbench.store.file.database import Database

_GRAM = 3  # characters; the trigram index cannot find shorter words
_READ = 5_000
"""Number of prompts that are read at most, where many of them are the same."""
_WRITTEN = """
    substr(text, 1, length(text)
        - (SELECT coalesce(sum(length + 2), 0) FROM attached_file WHERE prompt_id = prompt.id))
"""
"""What the user wrote: the text without the sections of the attached files, and without the empty line before each."""
_ALL = f"SELECT {_WRITTEN} FROM prompt ORDER BY number DESC"  # noqa: S608 (constants)
_WITH_WORD = f"""
    SELECT {_WRITTEN} FROM prompt WHERE number IN (SELECT rowid FROM prompt_search WHERE prompt_search MATCH ?)
    ORDER BY number DESC
"""  # noqa: S608 (constants)


def prompts(database: Database, words: str, limit: int) -> tuple[str, ...]:
    """Return what users wrote in prompts that contain all words, each once, newest first."""
    terms = sorted(clean(words).replace("\0", " ").casefold().split(), key=len, reverse=True)
    return tuple(islice(_distinct(database, terms), limit))


def _distinct(database: Database, terms: list[str]) -> Iterator[str]:
    indexed = [term for term in terms[:1] if len(term) >= _GRAM]
    quoted = [
        '"' + term.replace('"', '""') + '"' for term in indexed
    ]  # a literal phrase in a query of the index
    rows = database.stream(_WITH_WORD if indexed else _ALL, *quoted)
    seen: set[str] = set()
    for (text,) in islice(rows, _READ):
        # A damaged record may have something else than a text.
        if not isinstance(text, str) or not text or text in seen:
            continue
        if all(term in text.casefold() for term in terms):
            seen.add(text)
            yield text
