"""The filters of a search as conditions of SQL."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paragone_workbench.store.query import Query

_ANSWERED = """
    conversation.id IN (
      SELECT prompt.conversation_id FROM run JOIN turn ON turn.run_id = run.id JOIN prompt ON prompt.id = turn.prompt_id
      WHERE {}
    )
"""
_TAGGED = "conversation.id IN (SELECT conversation_id FROM tag WHERE name = ?)"


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition of SQL, and the values of its placeholders."""

    sql: str
    values: tuple[object, ...]


def of_conversation(query: Query) -> Condition:
    """Return the condition of the conversations that fit. It names the table `conversation`."""
    parts = [Condition("conversation.deleted_by IS NULL", ())]
    if query.engines or query.models:
        answered = of_run(query)
        parts.append(Condition(_ANSWERED.format(answered.sql), answered.values))
    parts += [Condition(_TAGGED, (name,)) for name in query.tags]
    if query.since is not None:
        parts.append(Condition("conversation.used >= ?", (query.since,)))
    if query.until is not None:
        parts.append(Condition("conversation.created < ?", (query.until,)))
    return _all(parts)


def of_run(query: Query) -> Condition:
    """Return the condition of the runs that fit, by engine and model. It names the table `run`."""
    columns = [("run.engine", part) for part in query.engines] + [
        ("run.model", part) for part in query.models
    ]
    return _all([Condition(f"{column} LIKE ? ESCAPE '\\'", (_containing(part),)) for column, part in columns])


def of_cell(query: Query) -> Condition:
    """Return the condition of the answers of experiments that fit. Experiments have no tags."""
    parts = [of_run(query)]
    if query.tags:
        parts.append(Condition("0", ()))
    if query.since is not None:
        parts.append(Condition("run.started >= ?", (query.since,)))
    if query.until is not None:
        parts.append(Condition("run.started < ?", (query.until,)))
    return _all(parts)


def _all(parts: list[Condition]) -> Condition:
    sql = " AND ".join(part.sql for part in parts) or "1"
    return Condition(sql, tuple(value for part in parts for value in part.values))


def _containing(part: str) -> str:
    """Return a pattern of LIKE for texts that contain a part."""
    for sign in "\\%_":
        part = part.replace(sign, f"\\{sign}")
    return f"%{part}%"
