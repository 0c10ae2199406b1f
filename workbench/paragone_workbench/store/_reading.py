"""Conversations read back: as a list, and whole."""

from __future__ import annotations

import base64
import dataclasses
import json
from typing import TYPE_CHECKING

from paragone import Image, InputError
from paragone.wire import from_json
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.store._runs import said
from paragone_workbench.store.records import (
    SavedConversation,
    SavedLane,
    SavedPrompt,
    SavedRun,
    Summary,
    Turn,
)

if TYPE_CHECKING:
    from paragone_workbench.store._database import Database, Row

__all__ = ["conversations", "load"]

_LIST = """
    SELECT id, title, updated, (SELECT count(*) FROM prompt WHERE conversation_id = conversation.id)
    FROM conversation
    WHERE (updated, id) < (?, ?) AND EXISTS (SELECT 1 FROM prompt WHERE conversation_id = conversation.id)
    ORDER BY updated DESC, id DESC LIMIT ?
"""
_LANES = """
    SELECT id, position, definition, closed FROM lane WHERE conversation_id = ? ORDER BY position, id
"""
_BRANCH = """
    WITH RECURSIVE branch (id, parent_id, text, created) AS (
      SELECT id, parent_id, text, created FROM prompt
      WHERE id = (SELECT max(id) FROM prompt WHERE conversation_id = ?)
      UNION ALL
      SELECT prompt.id, prompt.parent_id, prompt.text, prompt.created
      FROM prompt JOIN branch ON prompt.id = branch.parent_id
    )
    SELECT id, parent_id, text, created FROM branch ORDER BY id
"""
_IMAGES = """
    SELECT prompt_id, name, media_type, data FROM image JOIN prompt ON prompt.id = prompt_id
    WHERE conversation_id = ? ORDER BY image.id
"""
# in the order of SavedRun's fields
_LATEST_RUNS = """
    SELECT id, prompt_id, lane_id, engine, backend, model, manifest, state,
      text, thinking, finish, error, metrics, started, ended
    FROM run WHERE id IN (
      SELECT max(run.id) FROM run JOIN prompt ON prompt.id = prompt_id
      WHERE conversation_id = ? GROUP BY prompt_id, lane_id
    )
"""


def conversations(database: Database, limit: int, before: Summary | None) -> tuple[Summary, ...]:
    """Return conversations that have a prompt, the most recently used first."""
    last = (before.updated, before.id) if before else (1e300, 0)
    return tuple(
        Summary(
            id=conversation_id,
            title=title,
            engines=tuple(
                json.loads(definition)["name"]
                for _, _, definition, closed in database.rows(_LANES, conversation_id)
                if not closed
            ),
            prompts=prompts,
            updated=updated,
        )
        for conversation_id, title, updated, prompts in database.rows(_LIST, *last, limit)
    )


def load(database: Database, conversation_id: int) -> SavedConversation:
    """Return a conversation, whole. Raises InputError where there is none."""
    found = database.rows(
        "SELECT title, system, created, updated FROM conversation WHERE id = ?", conversation_id
    )
    if not found:
        raise InputError("This conversation is no longer there: it was deleted.")
    title, system, created, updated = found[0]
    images = _images(database, conversation_id)
    prompts = tuple(
        SavedPrompt(
            id=prompt_id,
            parent_id=parent_id,
            text=text,
            created=written,
            images=images.get(prompt_id, ()),
        )
        for prompt_id, parent_id, text, written in database.rows(_BRANCH, conversation_id)
    )
    runs = _latest_runs(database, conversation_id)
    return SavedConversation(
        id=conversation_id,
        title=title,
        system=system,
        created=created,
        updated=updated,
        prompts=prompts,
        lanes=tuple(
            SavedLane(
                id=lane_id,
                position=position,
                definition=from_json(EngineDefinition, json.loads(definition)),
                closed=bool(closed),
                turns=tuple(Turn(prompt=prompt, run=runs.get((prompt.id, lane_id))) for prompt in prompts),
            )
            for lane_id, position, definition, closed in database.rows(_LANES, conversation_id)
        ),
    )


def _images(database: Database, conversation_id: int) -> dict[int, tuple[Image, ...]]:
    """Return the images of each prompt that has any, by its id."""
    images: dict[int, tuple[Image, ...]] = {}
    for prompt_id, name, media_type, content in database.stream(_IMAGES, conversation_id):
        image = Image(data=base64.b64encode(content).decode("ascii"), media_type=media_type, name=name)
        images[prompt_id] = (*images.get(prompt_id, ()), image)
    return images


def _latest_runs(database: Database, conversation_id: int) -> dict[tuple[int, int], SavedRun]:
    runs: dict[tuple[int, int], SavedRun] = {}
    for row in database.rows(_LATEST_RUNS, conversation_id):
        run = _run(row)
        if run.state == "running":
            text, thinking = said(database, run.id)
            run = dataclasses.replace(run, text=text, thinking=thinking)
        runs[run.prompt_id, run.lane_id] = run
    return runs


def _run(row: Row) -> SavedRun:
    names = (field.name for field in dataclasses.fields(SavedRun))
    fields = dict(zip(names, row, strict=True))
    fields["manifest"] = json.loads(fields["manifest"])
    if fields["metrics"] is not None:
        fields["metrics"] = from_json(RunMetrics, json.loads(fields["metrics"]))
    return SavedRun(**fields)
