"""Loads a conversation from the database."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from paragone import Image, InputError
from paragone.wire import from_json
from paragone_workbench.conversation.tree import Conversation, Prompt
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.runs.record import RunRecord
from paragone_workbench.store._interruption import saved_text
from paragone_workbench.store._run_columns import COLUMNS, record_of
from paragone_workbench.store._tokens import unpack
from paragone_workbench.store.records import LaneRecord, SavedConversation

if TYPE_CHECKING:
    from paragone_workbench.store._database import Database

__all__ = ["load"]

_PROMPTS = """
    SELECT id, parent_id, text, system, sampling, for_all, created FROM prompt WHERE conversation_id = ? ORDER BY id
"""
_IMAGES = """
    SELECT prompt_id, name, media_type, data FROM image JOIN prompt ON prompt.id = prompt_id
    WHERE conversation_id = ? ORDER BY image.id
"""
_LANES = """
    SELECT id, position, definition, closed, head_id FROM lane WHERE conversation_id = ? ORDER BY position, id
"""
_RUNS = f"""
    SELECT run.id, prompt_id, lane_id, continues_id, manifest, run.text, thinking, token.data, {COLUMNS}
    FROM prompt JOIN run ON run.prompt_id = prompt.id LEFT JOIN token ON token.run_id = run.id
    WHERE conversation_id = ? ORDER BY run.id
"""  # noqa: S608 (the names of columns)


def load(database: Database, conversation_id: int) -> SavedConversation:
    """Return a conversation with all its lanes and runs. Raises InputError if it does not exist."""
    found = database.rows("SELECT title, created, updated FROM conversation WHERE id = ?", conversation_id)
    if not found:
        raise InputError(
            f"Conversation c{conversation_id} no longer exists: it was deleted, or the id is wrong.",
            hint="`paragone history` lists the conversations.",
        )
    title, created, updated = found[0]
    prompts = _prompts(database, conversation_id)
    lanes: dict[int, LaneRecord] = {}
    heads: dict[int, int | None] = {}
    for lane_id, position, definition, closed, head_id in database.rows(_LANES, conversation_id):
        lanes[lane_id] = LaneRecord(
            id=lane_id,
            position=position,
            definition=from_json(EngineDefinition, json.loads(definition)),
            closed=bool(closed),
        )
        heads[lane_id] = head_id
    runs, running = _runs(database, conversation_id, prompts, lanes)
    for lane_id, head_id in heads.items():
        lanes[lane_id].head = None if head_id is None else runs.get(head_id)
    return SavedConversation(
        conversation=Conversation(prompts=list(prompts.values()), created=created, id=conversation_id),
        title=title,
        updated=updated,
        lanes=tuple(lanes.values()),
        runs=tuple(runs.values()),
        running=running,
    )


def _prompts(database: Database, conversation_id: int) -> dict[int, Prompt]:
    """Return the prompts by id; each comes after its parent."""
    images = _images(database, conversation_id)
    prompts: dict[int, Prompt] = {}
    for prompt_id, parent_id, text, system, sampling, for_all, created in database.rows(
        _PROMPTS, conversation_id
    ):
        prompts[prompt_id] = Prompt(
            id=prompt_id,
            parent=None if parent_id is None else prompts[parent_id],
            text=text,
            images=images.get(prompt_id, ()),
            system=system,
            sampling=None if sampling is None else json.loads(sampling),
            for_all=bool(for_all),
            created=created,
        )
    return prompts


def _images(database: Database, conversation_id: int) -> dict[int, tuple[Image, ...]]:
    """Return the images by the id of their prompt."""
    images: dict[int, tuple[Image, ...]] = {}
    for prompt_id, name, media_type, content in database.stream(_IMAGES, conversation_id):
        image = Image(data=base64.b64encode(content).decode("ascii"), media_type=media_type, name=name)
        images[prompt_id] = (*images.get(prompt_id, ()), image)
    return images


def _runs(
    database: Database, conversation_id: int, prompts: Mapping[int, Prompt], lanes: Mapping[int, LaneRecord]
) -> tuple[dict[int, RunRecord], frozenset[int]]:
    """Return the runs by id, each after the run that it continues, and the ids of those that are running.

    Adds each run to its lane.
    """
    runs: dict[int, RunRecord] = {}
    running: set[int] = set()
    for row in database.rows(_RUNS, conversation_id):
        run_id, prompt_id, lane_id, continues_id, manifest, text, thinking, tokens = row[:8]
        run = record_of(row[8:], json.loads(manifest))
        run.id = run_id
        run.prompt = prompts[prompt_id]
        run.continues = None if continues_id is None else runs.get(continues_id)
        run.tokens = [] if tokens is None else unpack(tokens)
        if run.state == "running":  # in another instance of the program, whose events do not arrive here
            run.state = "interrupted"
            running.add(run_id)
            text, thinking = saved_text(database, run_id)
        if text:
            run.add("answer", text)
        if thinking:
            run.add("thinking", thinking)
        runs[run_id] = run
        lanes[lane_id].runs.append(run)
    return runs, frozenset(running)
