"""Writes the changes of a conversation."""

from __future__ import annotations

import base64
import json

from paragone.wire import to_json
from paragone.wording import shortened
from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.engines.definitions import without_literal_keys
from paragone_workbench.store.errors import ConversationDeleted
from paragone_workbench.store.file.database import Database, clean
from paragone_workbench.store.recording.changes import Changes
from paragone_workbench.store.records import QueuedPrompt
from paragone_workbench.store.tables.runs import save_run

_TITLE = 80  # characters

_LANE = """
    INSERT INTO lane (id, conversation_id, position, definition, closed) VALUES (?, ?, ?, ?, ?)
    ON CONFLICT (id) DO UPDATE SET
      position = excluded.position, definition = excluded.definition, closed = excluded.closed
"""
_TURN = """
    INSERT INTO turn (run_id, prompt_id, lane_id, continues_id) VALUES (?, ?, ?, ?)
    ON CONFLICT (run_id) DO UPDATE SET continues_id = excluded.continues_id
"""
_TEXT = """
    INSERT OR REPLACE INTO piece (run_id, position, text, thinking)
    SELECT id, ?, ?, ? FROM run WHERE id = ? AND state = 'running'
"""


def write(database: Database, changes: Changes, owner_id: int) -> dict[str, int]:
    """Write changes, and return the numbers of the conversation and of the runs, by id.

    Must be called in a transaction. Raises ConversationDeleted if the conversation was saved, but the history no longer has it.
    """
    conversation_id = changes.conversation_id
    numbers = {conversation_id: _conversation(database, changes)}
    for prompt in changes.prompts:
        _prompt(database, prompt, conversation_id)
    for lane in changes.lanes:
        definition = json.dumps(to_json(without_literal_keys(lane.definition)))
        database.run(_LANE, lane.id, conversation_id, lane.position, definition, lane.closed)
    for turn in changes.turns:
        run_id = turn.result.id
        numbers[run_id] = save_run(database, turn.result, owner_id=owner_id)
        database.run(_TURN, run_id, turn.prompt_id, turn.lane_id, turn.continues_id)
    for new in changes.texts:
        database.run(_TEXT, new.position, clean(new.text), clean(new.thinking), new.run_id)
    for lane in changes.lanes:  # after the runs, because the head of a lane may be a new run
        if lane.head_id is not None:
            database.run("UPDATE lane SET head_id = ? WHERE id = ?", lane.head_id, lane.id)
        if lane.fork_id is not None:
            database.run("UPDATE lane SET fork_id = ? WHERE id = ?", lane.fork_id, lane.id)
    if changes.queue is not None:
        _queue(database, changes.queue, conversation_id)
    _used(database, changes)
    return numbers


def _conversation(database: Database, changes: Changes) -> int:
    if not changes.is_saved:
        database.run(
            "INSERT OR IGNORE INTO conversation (id, created, updated) VALUES (?, ?, ?)",
            changes.conversation_id,
            changes.created,
            changes.created,
        )
    for (number,) in database.rows("SELECT number FROM conversation WHERE id = ?", changes.conversation_id):
        return int(number)
    raise ConversationDeleted


def _prompt(database: Database, prompt: Prompt, conversation_id: str) -> None:
    text = clean(prompt.text)
    database.run(
        "INSERT OR IGNORE INTO prompt (id, conversation_id, parent_id, text, system, sampling, for_all, created)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        prompt.id,
        conversation_id,
        None if prompt.parent is None else prompt.parent.id,
        text,
        None if prompt.system is None else clean(prompt.system),
        None if prompt.sampling is None else json.dumps(prompt.sampling),
        int(prompt.for_all),
        prompt.created,
    )
    for position, image in enumerate(prompt.images):
        database.run(
            "INSERT OR IGNORE INTO image (prompt_id, position, name, media_type, data) VALUES (?, ?, ?, ?, ?)",
            prompt.id,
            position,
            clean(image.name),
            image.media_type,
            base64.b64decode(image.data),
        )
    for position, file in enumerate(prompt.files):
        database.run(
            "INSERT OR IGNORE INTO attached_file (prompt_id, position, name, size, length) VALUES (?, ?, ?, ?, ?)",
            prompt.id,
            position,
            clean(file.name),
            file.size,
            len(file.section),
        )
    database.run(
        "UPDATE conversation SET title = ? WHERE id = ? AND title = ''", title_of(text), conversation_id
    )


def _queue(database: Database, queue: tuple[QueuedPrompt, ...], conversation_id: str) -> None:
    database.run("DELETE FROM queued WHERE conversation_id = ?", conversation_id)
    for position, queued in enumerate(queue):
        database.run(
            "INSERT INTO queued (conversation_id, position, text, files, images, lanes, for_all, prompt_id)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
            conversation_id,
            position,
            clean(queued.text),
            json.dumps([to_json(file) for file in queued.files]),
            json.dumps([to_json(image) for image in queued.images]),
            json.dumps([lane.id for lane in queued.lanes]),
            int(queued.for_all),
            None if queued.prompt is None else queued.prompt.id,
        )


def _used(database: Database, changes: Changes) -> None:
    """Save the time of the last use of the conversation, by a new prompt or the end of a run, and the time of opening."""
    times = [prompt.created for prompt in changes.prompts]
    times += [turn.result.ended for turn in changes.turns if turn.result.ended is not None]
    if changes.opened is not None:
        opened = changes.opened, changes.conversation_id
        database.run("UPDATE conversation SET opened = ? WHERE id = ?", *opened)
    if times:
        database.run(
            "UPDATE conversation SET updated = max(used, ?) WHERE id = ?",
            max(times),
            changes.conversation_id,
        )


def title_of(text: str) -> str:
    """Return the title for a text: the first line that is not blank, shortened to `_TITLE` characters."""
    line = next((line for line in map(str.strip, text.splitlines()) if line), "")
    return shortened(line, _TITLE)
