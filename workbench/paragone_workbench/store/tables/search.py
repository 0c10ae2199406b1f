"""Full-text search over prompts and answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from paragone_workbench.store.file.database import clean
from paragone_workbench.store.records import Hit

if TYPE_CHECKING:
    from paragone_workbench.store.file.database import Database, Row


_GRAM = 3  # characters; the trigram index cannot find shorter terms
_BEFORE, _WIDTH = 30, 100  # characters of a snippet: before the first term, and in total

_PROMPTS = """
    SELECT 'c', conversation.number, conversation.title, prompt.id, NULL, '', prompt.text, prompt.created
    FROM prompt JOIN conversation ON conversation.id = prompt.conversation_id
"""
_TURNS = """
    SELECT 'c', conversation.number, conversation.title, prompt.id, run.id, run.engine, run.text, run.started
    FROM run JOIN turn ON turn.run_id = run.id JOIN prompt ON prompt.id = turn.prompt_id
    JOIN conversation ON conversation.id = prompt.conversation_id
"""
_CELLS = """
    SELECT 'e', experiment.number, experiment.name, NULL, cell.number, run.engine, run.text, run.started
    FROM run JOIN cell ON cell.run_id = run.id JOIN experiment ON experiment.id = cell.experiment_id
"""
_IN_PROMPTS = "WHERE prompt.number IN (SELECT rowid FROM prompt_search WHERE prompt_search MATCH ?) "
_IN_RUNS = "WHERE run.number IN (SELECT rowid FROM run_search WHERE run_search MATCH ?) "


def search(database: Database, text: str, limit: int) -> tuple[Hit, ...]:
    """Return the prompts and answers, also of experiments, that contain all words of `text`, newest first."""
    terms = sorted(clean(text).replace("\0", " ").split(), key=len, reverse=True)
    if not terms:
        return ()
    hits = [
        *islice(_found(database, _PROMPTS, _IN_PROMPTS, "ORDER BY prompt.number DESC", terms), limit),
        *islice(_found(database, _TURNS, _IN_RUNS, "ORDER BY run.number DESC", terms), limit),
        *islice(_found(database, _CELLS, _IN_RUNS, "ORDER BY run.number DESC", terms), limit),
    ]
    return tuple(sorted(hits, key=lambda hit: hit.time, reverse=True)[:limit])


def _found(database: Database, select: str, indexed: str, order: str, terms: list[str]) -> Iterator[Hit]:
    longest, *others = terms
    if len(longest) >= _GRAM:
        # Quotes make the term a literal phrase in a query of the index. The other terms are checked below.
        rows = database.stream(select + indexed + order, '"' + longest.replace('"', '""') + '"')
    else:
        rows = database.stream(select + order)
        others = terms
    wanted = [re.compile(re.escape(term), re.IGNORECASE) for term in others]
    any_term = re.compile("|".join(map(re.escape, terms)), re.IGNORECASE)
    for row in rows:
        if _is_whole(row) and all(term.search(row[6]) for term in wanted):
            yield _hit(row, any_term)


def _is_whole(row: Row) -> bool:
    """Whether the texts and the date of a record can be read; it may be damaged."""
    _, _, title, _, _, engine, text, time = row
    return all(isinstance(value, str) for value in (title, engine, text)) and isinstance(time, int | float)


def _hit(row: Row, any_term: re.Pattern[str]) -> Hit:
    kind, number, title, prompt_id, run_id, engine, text, time = row
    found = any_term.search(text)
    start = max(0, found.start() - _BEFORE) if found else 0
    snippet = " ".join(text[start : start + _WIDTH].split())
    return Hit(
        place=f"{kind}{number}" if kind == "c" else f"{kind}{number}/{run_id}",
        conversation=number if kind == "c" else None,
        title=title,
        prompt_id=prompt_id,
        run_id=run_id if kind == "c" else None,
        engine=engine,
        snippet=snippet,
        marks=tuple(match.span() for match in any_term.finditer(snippet)),
        time=time,
    )
