"""Lists the conversations."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from paragone_workbench.store.records import Summary

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
            title=title,
            engines=tuple(
                json.loads(definition)["name"]
                for (definition,) in database.rows(_OPEN_LANES, conversation_id)
            ),
            prompts=prompts,
            updated=updated,
        )
        for number, conversation_id, title, updated, prompts in database.rows(_LIST, *last, limit)
    )
