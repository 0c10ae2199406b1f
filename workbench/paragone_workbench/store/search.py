"""Full-text search over prompts and answers, and its filters."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from paragone_workbench.store.database import Database, Row, clean
from paragone_workbench.store.records import Hit, Query, any_word_pattern, snippet_of

_ANSWERED = """
    EXISTS (
      SELECT 1 FROM lane JOIN turn ON turn.lane_id = lane.id JOIN run ON run.id = turn.run_id
      WHERE lane.conversation_id = conversation.id AND {}
    )
"""
_TAGGED = "conversation.id IN (SELECT conversation_id FROM tag WHERE name = ?)"

GRAM = 3  # characters; the trigram index cannot find shorter words
_LONGEST = 1000  # characters of a word; SQLite refuses very long patterns


@dataclass(frozen=True, slots=True)
class Condition:
    sql: str
    values: tuple[object, ...]


def fitting_conversation(query: Query) -> Condition:
    """Return the SQL condition for conversations that match a query. It names the table `conversation`."""
    parts = [fitting_tags_and_dates(query)]
    if query.engines or query.models:
        answered = fitting_run(query)
        parts.append(Condition(_ANSWERED.format(answered.sql), answered.values))
    return all_of(*parts)


def fitting_tags_and_dates(query: Query) -> Condition:
    tags = (Condition(_TAGGED, (name,)) for name in query.tags)
    return all_of(*tags, *_dates(query, "conversation.used", "conversation.created"))


def _dates(query: Query, last: str, first: str) -> Iterator[Condition]:
    """Yield the conditions on the columns with the times of the last and of the first use."""
    for sql, value in ((f"{last} >= ?", query.since), (f"{first} < ?", query.until)):
        if value is not None:
            yield Condition(sql, (value,))


def fitting_run(query: Query) -> Condition:
    """Return the SQL condition for runs that match the engines and models of a query. It names the table `run`."""
    parts = [("run.engine", part) for part in query.engines] + [("run.model", part) for part in query.models]
    return all_of(*[_like(column, map(_escaped, part)) for column, part in parts])


def fitting_experiment_run(query: Query) -> Condition:
    """Return the SQL condition for answers in experiments that match the dates of a query. No answer matches a query
    with tags."""
    none = [Condition("0", ())] if query.tags else []
    return all_of(*none, *_dates(query, "run.started", "run.started"))


def fitting_text(column: str, word: str) -> Condition:
    """Return a condition that holds for all texts with a word, and perhaps for others. LIKE ignores case only for
    ASCII letters, so the condition accepts any character in place of other letters that have cases."""
    is_exact = (letter.isascii() or letter.lower() == letter.upper() for letter in word)
    letters = (
        _escaped(letter) if exact else "_" for letter, exact in zip(word[:_LONGEST], is_exact, strict=False)
    )
    return _like(column, letters)


def all_of(*parts: Condition) -> Condition:
    sql = " AND ".join(part.sql for part in parts) or "1"
    return Condition(sql, tuple(value for part in parts for value in part.values))


def phrase(word: str) -> str:
    return '"' + word.replace('"', '""') + '"'


def _like(column: str, letters: Iterable[str]) -> Condition:
    """Return the condition that a column contains these letters, some of them escaped."""
    return Condition(f"{column} LIKE ? ESCAPE '\\'", (f"%{''.join(letters)}%",))


def _escaped(letter: str) -> str:
    return f"\\{letter}" if letter in "\\%_" else letter


_PROMPTS = """
    SELECT 'c', conversation.number, conversation.title, prompt.id, NULL, '', prompt.text, prompt.created
    FROM {} JOIN conversation ON conversation.id = prompt.conversation_id
"""
_ANSWERS = """
    SELECT iif(conversation.id IS NULL, 'e', 'c'), coalesce(conversation.number, experiment.number),
      coalesce(conversation.title, experiment.name), iif(conversation.id IS NULL, NULL, prompt.id),
      iif(conversation.id IS NULL, cell.number, run.id), run.engine, run.text, run.started
    FROM {} LEFT JOIN turn ON turn.run_id = run.id LEFT JOIN prompt ON prompt.id = turn.prompt_id
    LEFT JOIN conversation ON conversation.id = prompt.conversation_id
    LEFT JOIN cell ON cell.number = (SELECT min(number) FROM cell WHERE run_id = run.id)
    LEFT JOIN experiment ON experiment.id = cell.experiment_id
"""
_OF_CONVERSATION = Condition("conversation.id IS NOT NULL", ())
_OF_EXPERIMENT = Condition("experiment.id IS NOT NULL", ())
_TITLES = """
    SELECT 'c', conversation.number, conversation.title, NULL, NULL, '', conversation.title, conversation.used
    FROM {}
"""
_FITTING = "SELECT id FROM conversation WHERE {}"
_THESE = "conversation.id IN (SELECT value FROM json_each(?))"
# CROSS JOIN: the matches of the index come one at a time, newest first, so that a search that has enough hits can stop.
_INDEXED = "{0}_search CROSS JOIN {0} ON {0}.number = {0}_search.rowid"
_MATCH = "{}_search MATCH ?"
_COUNT = "SELECT count(*) FROM (SELECT 1 FROM {0}_search WHERE {0}_search MATCH ? LIMIT ?)"
_RARE = 2000
"""Largest number of rows that contain a rare word."""


def search(database: Database, query: Query, limit: int, *, one_each: bool) -> tuple[Hit, ...]:
    """Return hits as `Store.search` describes. Without words, the hits are the titles of the conversations that match
    the filters."""
    terms = sorted(map(clean, query.words), key=len, reverse=True)
    conversation = _looked_up(database, query)

    def found(select: str, table: str, column: str, condition: Condition) -> list[Hit]:
        hits = _found(database, select, table, column, condition, terms)
        return list(islice(_first_of_each(hits) if one_each else hits, limit))

    hits = found(_TITLES, "conversation", "title", conversation)
    if terms:
        turns = all_of(_OF_CONVERSATION, fitting_tags_and_dates(query))
        cells = all_of(_OF_EXPERIMENT, fitting_experiment_run(query))
        texts = found(_PROMPTS, "prompt", "text", conversation)
        either = Condition(f"(({turns.sql}) OR ({cells.sql}))", turns.values + cells.values)
        texts += found(_ANSWERS, "run", "text", all_of(fitting_run(query), either))
        elsewhere = {hit.conversation for hit in texts}
        hits = [hit for hit in hits if hit.conversation not in elsewhere]
        hits += texts
    hits.sort(key=lambda hit: hit.time, reverse=True)
    return tuple(islice(_first_of_each(iter(hits)) if one_each else hits, limit))


def _looked_up(database: Database, query: Query) -> Condition:
    """Return the condition for a query's conversations. With engines, models or tags, the conversations are looked up
    once and listed by id."""
    condition = fitting_conversation(query)
    if not (query.engines or query.models or query.tags):
        return condition
    fitting = [fit for (fit,) in database.rows(_FITTING.format(condition.sql), *condition.values)]
    return Condition(_THESE, (json.dumps(fitting),))


def _first_of_each(hits: Iterator[Hit]) -> Iterator[Hit]:
    seen: set[int] = set()
    for hit in hits:
        if hit.conversation is None:
            yield hit
        elif hit.conversation not in seen:
            seen.add(hit.conversation)
            yield hit


def _found(
    database: Database, select: str, table: str, column: str, condition: Condition, terms: list[str]
) -> Iterator[Hit]:
    """Yield the rows that have all terms in a column, newest first. Only rare words are looked up in the table's
    index (`conversation` has none): for a frequent word, reading all rows is faster."""
    match = _rare(database, table, terms[0]) if table != "conversation" and terms else None
    if match is not None:
        source, order, others = _INDEXED.format(table), f"{table}_search.rowid", terms[1:]
        condition = all_of(match, condition)
    else:
        source, order, others = table, f"{table}.number", terms
    condition = all_of(*(fitting_text(f"{table}.{column}", term) for term in others), condition)
    wanted = [re.compile(re.escape(term), re.IGNORECASE) for term in others]
    any_term = any_word_pattern(terms)
    sql = f"{select.format(source)} WHERE {condition.sql} ORDER BY {order} DESC"
    for row in database.stream(sql, *condition.values):
        if _is_whole(row) and all(term.search(row[6]) for term in wanted):
            yield _hit(row, any_term)


def _rare(database: Database, table: str, term: str) -> Condition | None:
    """Return the condition that finds a term by the index of a table; None for a short or frequent term."""
    if len(term) < GRAM:
        return None
    ((rows,),) = database.rows(_COUNT.format(table), phrase(term), _RARE + 1)
    return Condition(_MATCH.format(table), (phrase(term),)) if rows <= _RARE else None


def _is_whole(row: Row) -> bool:
    """Whether the texts and the date of a record have the right types. A damaged record may have other types."""
    _, _, title, _, _, engine, text, time = row
    return all(isinstance(value, str) for value in (title, engine, text)) and isinstance(time, int | float)


def _hit(row: Row, any_term: re.Pattern[str]) -> Hit:
    kind, number, title, prompt_id, run_id, engine, text, time = row
    snippet, marks = snippet_of(text, any_term)
    return Hit(
        id=f"{kind}{number}" if kind == "c" else f"{kind}{number}/{run_id}",
        conversation=number if kind == "c" else None,
        title=title,
        prompt_id=prompt_id,
        run_id=run_id if kind == "c" else None,
        engine=engine,
        snippet=snippet,
        marks=marks,
        time=time,
    )
