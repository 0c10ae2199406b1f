"""The filters of a search as conditions of SQL."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from paragone_workbench.store.query import Query

_ANSWERED = """
    EXISTS (
      SELECT 1 FROM lane JOIN turn ON turn.lane_id = lane.id JOIN run ON run.id = turn.run_id
      WHERE lane.conversation_id = conversation.id AND {}
    )
"""
_TAGGED = "conversation.id IN (SELECT conversation_id FROM tag WHERE name = ?)"

GRAM = 3  # characters; the trigram index cannot find shorter words
_MOST_PATTERNS = 8
_LONGEST = 1000  # characters of a word; SQLite refuses very long patterns


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition of SQL, and the values of its placeholders."""

    sql: str
    values: tuple[object, ...]


def fitting_conversation(query: Query) -> Condition:
    """Return the condition of the conversations that fit a query. The condition names the table `conversation`."""
    parts = [fitting_tags_and_dates(query)]
    if query.engines or query.models:
        answered = fitting_run(query)
        parts.append(Condition(_ANSWERED.format(answered.sql), answered.values))
    return all_of(*parts)


def fitting_tags_and_dates(query: Query) -> Condition:
    """Return the condition of the conversations that fit the tags and dates of a query."""
    parts = [Condition(_TAGGED, (name,)) for name in query.tags]
    if query.since is not None:
        parts.append(Condition("conversation.used >= ?", (query.since,)))
    if query.until is not None:
        parts.append(Condition("conversation.created < ?", (query.until,)))
    return all_of(*parts)


def fitting_run(query: Query) -> Condition:
    """Return the condition of the runs that fit the engines and models of a query. The condition names the table `run`."""
    columns = [("run.engine", part) for part in query.engines] + [
        ("run.model", part) for part in query.models
    ]
    return all_of(*[Condition(_like(column), (_containing(part),)) for column, part in columns])


def fitting_experiment_run(query: Query) -> Condition:
    """Return the condition of the answers in experiments that fit the dates of a query. No answer fits a query with tags."""
    parts: list[Condition] = []
    if query.tags:
        parts.append(Condition("0", ()))
    if query.since is not None:
        parts.append(Condition("run.started >= ?", (query.since,)))
    if query.until is not None:
        parts.append(Condition("run.started < ?", (query.until,)))
    return all_of(*parts)


def fitting_text(column: str, word: str) -> Condition:
    """Return a condition that holds for all texts with a word in upper or lower case, and perhaps for other texts.

    LIKE ignores the case of ASCII letters only: a word with other letters gets a pattern for each combination of cases.
    """
    cases = [{letter} if letter.isascii() else {letter, letter.lower(), letter.upper()} for letter in word]
    if len(word) > _LONGEST or math.prod(map(len, cases)) > _MOST_PATTERNS:
        return all_of()
    patterns = tuple(_containing("".join(letters)) for letters in itertools.product(*cases))
    likes = [_like(column)] * len(patterns)
    return Condition(f"({' OR '.join(likes)})", patterns)


def all_of(*parts: Condition) -> Condition:
    sql = " AND ".join(part.sql for part in parts) or "1"
    return Condition(sql, tuple(value for part in parts for value in part.values))


def either(one: Condition, other: Condition) -> Condition:
    return Condition(f"(({one.sql}) OR ({other.sql}))", one.values + other.values)


def phrase(word: str) -> str:
    """Return a word as a literal phrase in a query of the trigram index."""
    return '"' + word.replace('"', '""') + '"'


def _like(column: str) -> str:
    return f"{column} LIKE ? ESCAPE '\\'"


def _containing(part: str) -> str:
    """Return a pattern of LIKE for texts that contain a part."""
    for sign in "\\%_":
        part = part.replace(sign, f"\\{sign}")
    return f"%{part}%"
