"""Saves whole conversations, such as imported ones."""

from __future__ import annotations

import time
from functools import partial

from paragone_workbench.store.recording.changes import PART, Changes
from paragone_workbench.store.retry import retrying_now
from paragone_workbench.store.store import Store

_PAUSE_S = 0.03
"""Seconds between two parts, in which another program can lock the file: SQLite has no queue of waiting programs."""


def save_whole(store: Store, changes: Changes, title: str = "") -> int:
    """Save a conversation in parts, and return the conversation's number. Raises StoreError.

    If `title` is not empty, the conversation gets this title.
    If saving fails after some parts, saving the same changes again completes the conversation.
    """
    number = 0
    for part in changes.in_parts():
        number = retrying_now(partial(store.save, part))[changes.conversation_id]
        time.sleep(_PAUSE_S if len(changes.turns) > PART else 0)
    if title:
        retrying_now(lambda: store.labels.rename(number, title))
    return number
