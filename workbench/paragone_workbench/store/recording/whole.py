"""Saves whole conversations: imported ones, and copies."""

from __future__ import annotations

import dataclasses
import time
from functools import partial

from paragone_workbench.conversation.tree import Conversation, Prompt
from paragone_workbench.identity import new_id
from paragone_workbench.runs.run import Run
from paragone_workbench.store.recording.changes import PART, Changes
from paragone_workbench.store.records import SavedConversation
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


def duplicate(store: Store, number: int) -> int:
    """Save a copy of a conversation with all its answers, and return its number. Raises ParagoneError.

    The copy has the original's tags and time of last use, and the original's title with `(copy)` at the end.
    """
    saved = store.load(number)
    tags = store.summaries([number])[number].tags
    copied = save_whole(store, Changes.of(_copy(saved)), f"{saved.title} (copy)")
    retrying_now(lambda: store.labels.date_as(copied, number))
    if tags:
        retrying_now(lambda: store.labels.tag(copied, tags))
    return copied


def _copy(saved: SavedConversation) -> SavedConversation:
    """Return the same conversation with other ids."""
    prompts: dict[Prompt | None, Prompt] = {}
    for prompt in saved.conversation.prompts:
        prompts[prompt] = dataclasses.replace(prompt, id=new_id(), parent=prompts.get(prompt.parent))
    runs: dict[Run | None, Run] = {}
    for run in saved.runs:
        result = dataclasses.replace(run.result, id=new_id())
        runs[run] = Run(result, prompt=prompts.get(run.prompt), continues=runs.get(run.continues))
    lanes = tuple(
        dataclasses.replace(
            lane,
            id=new_id(),
            head=runs.get(lane.head),
            fork=runs.get(lane.fork),
            runs=[runs[run] for run in lane.runs],
        )
        for lane in saved.lanes
    )
    return dataclasses.replace(
        saved,
        conversation=Conversation(prompts=list(prompts.values())),
        lanes=lanes,
        runs=tuple(runs.values()),
        queue=(),
    )
