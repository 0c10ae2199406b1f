"""Full-text search over prompts and answers."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING

from paragone_workbench.store.file.database import clean
from paragone_workbench.store.records import Hit
from paragone_workbench.store.snippet import any_of, snippet_of
from paragone_workbench.store.tables.filters import Condition, of_cell, of_conversation, of_run

if TYPE_CHECKING:
    from paragone_workbench.store.file.database import Database, Row
    from paragone_workbench.store.query import Query


_GRAM = 3  # characters; the trigram index cannot find shorter terms

_PROMPTS = """
    SELECT 'c', conversation.number, conversation.title, prompt.id, NULL, '', prompt.text, prompt.created
    FROM prompt JOIN conversation ON conversation.id = prompt.conversation_id
"""
_TURNS = """
    SELECT 'c', conversation.number, conversation.title, prompt.id, run.id, run.engine, run.text, run.started
    FROM run JOIN turn ON turn.run_id = run.id JOIN prompt ON prompt.id = turn.prompt_id
    JOIN conversation ON conversation.id = prompt.conversation_id
"""
_TITLES = """
    SELECT 'c', conversation.number, conversation.title, NULL, NULL, '', conversation.title, conversation.used
    FROM conversation
"""
_CELLS = """
    SELECT 'e', experiment.number, experiment.name, NULL, cell.number, run.engine, run.text, run.started
    FROM run JOIN cell ON cell.run_id = run.id JOIN experiment ON experiment.id = cell.experiment_id
"""
_IN_PROMPTS = "prompt.number IN (SELECT rowid FROM prompt_search WHERE prompt_search MATCH ?)"
_IN_RUNS = "run.number IN (SELECT rowid FROM run_search WHERE run_search MATCH ?)"


def search(database: Database, query: Query, limit: int, *, one_each: bool) -> tuple[Hit, ...]:
    """Return the prompts and answers, also of experiments, that have all words of a query, newest first.

    A conversation of which the title alone has all words is found by its title. `one_each` is whether each conversation is
    found once: by its newest hit. Without words, the conversations that fit the filters are found by their titles.
    """
    terms = sorted(map(clean, query.words), key=len, reverse=True)
    conversation, run = of_conversation(query), of_run(query)
    turns = Condition(f"{conversation.sql} AND {run.sql}", conversation.values + run.values)

    def found(select: str, indexed: str, condition: Condition, order: str) -> list[Hit]:
        hits = _found(database, select, indexed, condition, f"ORDER BY {order} DESC", terms)
        return list(islice(_first_of_each(hits) if one_each else hits, limit))

    hits = found(_TITLES, "", conversation, "conversation.used")
    if terms:
        texts = found(_PROMPTS, _IN_PROMPTS, conversation, "prompt.number")
        texts += found(_TURNS, _IN_RUNS, turns, "run.number")
        elsewhere = {hit.conversation for hit in texts}
        hits = [hit for hit in hits if hit.conversation not in elsewhere]
        hits += texts + found(_CELLS, _IN_RUNS, of_cell(query), "run.number")
    hits.sort(key=lambda hit: hit.time, reverse=True)
    return tuple(islice(_first_of_each(iter(hits)) if one_each else hits, limit))


def _first_of_each(hits: Iterator[Hit]) -> Iterator[Hit]:
    """Yield the first hit of each conversation, and all answers in experiments."""
    seen: set[int] = set()
    for hit in hits:
        if hit.conversation is None:
            yield hit
        elif hit.conversation not in seen:
            seen.add(hit.conversation)
            yield hit


def _found(
    database: Database, select: str, indexed: str, condition: Condition, order: str, terms: list[str]
) -> Iterator[Hit]:
    if indexed and len(terms[0]) >= _GRAM:
        # Quotes make the term a literal phrase in a query of the index. The other terms are checked below.
        phrase = '"' + terms[0].replace('"', '""') + '"'
        rows = database.stream(
            f"{select} WHERE {indexed} AND {condition.sql} {order}", phrase, *condition.values
        )
        others = terms[1:]
    else:
        rows = database.stream(f"{select} WHERE {condition.sql} {order}", *condition.values)
        others = terms
    wanted = [re.compile(re.escape(term), re.IGNORECASE) for term in others]
    any_term = any_of(terms)
    for row in rows:
        if _is_whole(row) and all(term.search(row[6]) for term in wanted):
            yield _hit(row, any_term)


def _is_whole(row: Row) -> bool:
    """Whether the texts and the date of a record can be read; it may be damaged."""
    _, _, title, _, _, engine, text, time = row
    return all(isinstance(value, str) for value in (title, engine, text)) and isinstance(time, int | float)


def _hit(row: Row, any_term: re.Pattern[str]) -> Hit:
    kind, number, title, prompt_id, run_id, engine, text, time = row
    snippet, marks = snippet_of(text, any_term)
    return Hit(
        place=f"{kind}{number}" if kind == "c" else f"{kind}{number}/{run_id}",
        conversation=number if kind == "c" else None,
        title=title,
        prompt_id=prompt_id,
        run_id=run_id if kind == "c" else None,
        engine=engine,
        snippet=snippet,
        marks=marks,
        time=time,
    )
