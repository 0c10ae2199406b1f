"""Lists the conversations."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from paragone_workbench.store.errors import DAMAGED
from paragone_workbench.store.records import Summary
from paragone_workbench.store.tables.json_columns import object_in

if TYPE_CHECKING:
    from paragone_workbench.store.file.database import Database

_LIST = """
    SELECT number, id, title, updated, (SELECT count(*) FROM prompt WHERE conversation_id = conversation.id)
    FROM conversation
    WHERE (updated, number) < (?, ?) AND EXISTS (SELECT 1 FROM prompt WHERE conversation_id = conversation.id)
    ORDER BY updated DESC, number DESC LIMIT ?
"""
_OPEN_LANES = "SELECT definition FROM lane WHERE conversation_id = ? AND NOT closed ORDER BY position, number"


def conversations(database: Database, limit: int, before: Summary | None) -> tuple[Summary, ...]:
    """Return conversations with prompts, most recently used first. If `before` is given, the first one
    is the conversation after it in this order."""
    last = (before.updated, before.number) if before else (1e300, 0)
    return tuple(
        Summary(
            number=number,
            title=title if isinstance(title, str) else "?",
            engines=tuple(_name(definition) for (definition,) in database.rows(_OPEN_LANES, conversation_id)),
            prompts=prompts,
            updated=updated,
        )
        for number, conversation_id, title, updated, prompts in database.rows(_LIST, *last, limit)
    )


def _name(definition: str) -> str:
    """Return the name of an engine; a question mark if its record is damaged."""
    with contextlib.suppress(*DAMAGED):
        return str(object_in(definition)["name"])
    return "?"
