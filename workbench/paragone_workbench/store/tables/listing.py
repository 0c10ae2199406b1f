"""Lists the conversations."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable

from paragone_workbench.store.errors import DAMAGED
from paragone_workbench.store.file.database import Database, Row
from paragone_workbench.store.query import Query
from paragone_workbench.store.records import Summary
from paragone_workbench.store.tables.filters import fitting_conversation
from paragone_workbench.store.tables.json_columns import object_in

_SELECT = """
    SELECT number, id, title, used, pinned, (SELECT count(*) FROM prompt WHERE conversation_id = conversation.id),
      (SELECT group_concat(name, ' ') FROM tag WHERE conversation_id = conversation.id),
      EXISTS (
        SELECT 1 FROM lane JOIN run ON run.id = lane.head_id
        WHERE conversation_id = conversation.id AND NOT closed AND state = 'interrupted'
      )
    FROM conversation
"""
_LIST = """
    WHERE (pinned, used, number) < (?, ?, ?) AND EXISTS (SELECT 1 FROM prompt WHERE conversation_id = conversation.id)
    AND {} ORDER BY pinned DESC, used DESC, number DESC LIMIT ?
"""
_LAST_USED = """
    SELECT number, used FROM conversation
    WHERE pinned = ? AND EXISTS (SELECT 1 FROM prompt WHERE conversation_id = conversation.id)
    ORDER BY used DESC LIMIT 1
"""
_LAST_OPENED = """
    SELECT number, opened FROM conversation
    WHERE typeof(opened) = 'real'
    AND EXISTS (SELECT 1 FROM prompt WHERE conversation_id = conversation.id)
    ORDER BY opened DESC LIMIT 1
"""
_THESE = "WHERE number IN (SELECT value FROM json_each(?))"
_OPEN_LANES = "SELECT definition FROM lane WHERE conversation_id = ? AND NOT closed ORDER BY position, number"


def conversations(
    database: Database, limit: int, before: Summary | None, query: Query
) -> tuple[Summary, ...]:
    # a sort key: pinned, time of last use, number; without `before`, a key above the keys of all conversations
    last = (int(before.is_pinned), before.updated, before.number) if before else (2, 0.0, 0)
    fits = fitting_conversation(query)
    rows = database.rows(_SELECT + _LIST.format(fits.sql), *last, *fits.values, limit)
    return tuple(_summary(database, row) for row in rows)


def summaries(database: Database, numbers: Iterable[int]) -> dict[int, Summary]:
    rows = database.rows(_SELECT + _THESE, json.dumps([*numbers]))
    return {summary.number: summary for summary in (_summary(database, row) for row in rows)}


def last_open(database: Database) -> Summary | None:
    found = [row for pinned in (0, 1) for row in database.rows(_LAST_USED, pinned)]
    found += database.rows(_LAST_OPENED)
    number, _ = max(found, key=lambda row: row[1], default=(None, 0.0))
    return None if number is None else summaries(database, [number])[number]


def _summary(database: Database, row: Row) -> Summary:
    number, conversation_id, title, used, pinned, prompts, tags, is_interrupted = row
    return Summary(
        number=number,
        title=title if isinstance(title, str) else "?",
        engines=tuple(dict.fromkeys(_name(lane) for (lane,) in database.rows(_OPEN_LANES, conversation_id))),
        prompts=prompts,
        updated=used,
        tags=tuple(tags.split()) if isinstance(tags, str) else (),
        is_pinned=bool(pinned),
        is_interrupted=bool(is_interrupted),
    )


def _name(definition: str) -> str:
    with contextlib.suppress(*DAMAGED):
        return str(object_in(definition)["name"])
    return "?"
