"""Writes a batch to the database."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING

from paragone.wire import to_json
from paragone_workbench.engines.definitions import without_passwords
from paragone_workbench.store._run_columns import COLUMNS, values_of
from paragone_workbench.store._surrogates import clean
from paragone_workbench.store._tokens import pack
from paragone_workbench.store.errors import ConversationDeleted

if TYPE_CHECKING:
    from paragone_workbench.conversation.tree import Prompt
    from paragone_workbench.store._database import Database
    from paragone_workbench.store.batch import Batch, LaneRow, NewText, Record, RunRow

__all__ = ["write"]

_TITLE = 80  # characters

# The text columns are not updated here. If another instance of the program wrongly assumed that this one had
# ended, it has moved the text saved so far from `piece` to the run, where it must be kept.
_NAMES = COLUMNS.split(", ")
_RUN = f"""
    INSERT INTO run (id, prompt_id, lane_id, owner_id, continues_id, manifest, {COLUMNS})
    VALUES (?, ?, ?, ?, ?, ?, {", ".join("?" * len(_NAMES))})
    ON CONFLICT (id) DO UPDATE SET
      {", ".join(f"{name} = excluded.{name}" for name in ["owner_id", "continues_id", "manifest", *_NAMES])}
"""  # noqa: S608 (the names of columns)
_NEW_TEXT = """
    INSERT INTO piece (run_id, text, thinking) SELECT id, ?, ? FROM run WHERE id = ? AND state = 'running'
"""


def write(database: Database, batch: Batch, owner_id: int) -> dict[Record, int]:
    """Write a batch and return the ids of the new records. Must be called in a transaction.

    Raises ConversationDeleted if the conversation has an id but is no longer in the database.
    """
    return _Writer(database, batch, owner_id).write()


class _Writer:
    """Writes one batch."""

    def __init__(self, database: Database, batch: Batch, owner_id: int) -> None:
        self._database = database
        self._batch = batch
        self._owner_id = owner_id
        self._new: dict[Record, int] = {}

    def write(self) -> dict[Record, int]:
        """Write the rows, each after those that it refers to. Lanes get their heads last, after the runs."""
        conversation_id = self._conversation()
        for prompt in self._batch.prompts:
            if prompt.id is None:
                self._prompt(prompt, conversation_id)
        for lane in self._batch.lanes:
            self._lane(lane, conversation_id)
        for run in self._batch.runs:
            self._run(run)
        for text in self._batch.texts:
            self._text(text)
        for lane in self._batch.lanes:
            self._head(lane)
        self._used(conversation_id)
        return self._new

    def _id(self, record: Record | None) -> int | None:
        """Return the id of a record, which may have been assigned in this batch; None for no record."""
        if record is None:
            return None
        return self._new[record] if record.id is None else record.id

    def _conversation(self) -> int:
        conversation = self._batch.conversation
        if conversation.id is not None:
            if not self._database.rows("SELECT 1 FROM conversation WHERE id = ?", conversation.id):
                raise ConversationDeleted
            return conversation.id
        created = conversation.created
        new = self._database.run(
            "INSERT INTO conversation (created, updated) VALUES (?, ?)", created, created
        )
        self._new[conversation] = new
        return new

    def _prompt(self, prompt: Prompt, conversation_id: int) -> None:
        text = clean(prompt.text)
        self._new[prompt] = self._database.run(
            "INSERT INTO prompt (conversation_id, parent_id, text, system, sampling, for_all, created)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            conversation_id,
            self._id(prompt.parent),
            text,
            None if prompt.system is None else clean(prompt.system),
            None if prompt.sampling is None else json.dumps(prompt.sampling),
            int(prompt.for_all),
            prompt.created,
        )
        for image in prompt.images:
            self._database.run(
                "INSERT INTO image (prompt_id, name, media_type, data) VALUES (?, ?, ?, ?)",
                self._new[prompt],
                clean(image.name),
                image.media_type,
                base64.b64decode(image.data),
            )
        self._database.run(
            "UPDATE conversation SET title = ? WHERE id = ? AND title = ''", _title(text), conversation_id
        )

    def _lane(self, row: LaneRow, conversation_id: int) -> None:
        definition = json.dumps(to_json(without_passwords(row.definition)))
        if row.lane.id is None:
            self._new[row.lane] = self._database.run(
                "INSERT INTO lane (conversation_id, position, definition, closed) VALUES (?, ?, ?, ?)",
                conversation_id,
                row.position,
                definition,
                row.closed,
            )
        else:
            self._database.run(
                "UPDATE lane SET position = ?, definition = ?, closed = ? WHERE id = ?",
                row.position,
                definition,
                row.closed,
                row.lane.id,
            )

    def _head(self, row: LaneRow) -> None:
        if not row.keep_head:
            self._database.run(
                "UPDATE lane SET head_id = ? WHERE id = ?", self._id(row.head), self._id(row.lane)
            )

    def _run(self, row: RunRow) -> None:
        running = row.state == "running"
        run_id = self._database.run(
            _RUN,
            row.run.id,
            self._id(row.prompt),
            self._id(row.lane),
            self._owner_id if running else None,
            self._id(row.continues),
            json.dumps(row.manifest),
            *values_of(row),
        )
        if row.run.id is None:
            self._new[row.run] = run_id
        else:
            run_id = row.run.id
        if not running:
            self._database.run(
                "UPDATE run SET text = ?, thinking = ? WHERE id = ?",
                clean(row.text),
                clean(row.thinking),
                run_id,
            )
            self._database.run("DELETE FROM piece WHERE run_id = ?", run_id)
            if row.tokens:
                self._database.run(
                    "INSERT OR REPLACE INTO token (run_id, data) VALUES (?, ?)", run_id, pack(row.tokens)
                )

    def _text(self, new: NewText) -> None:
        self._database.run(_NEW_TEXT, clean(new.text), clean(new.thinking), self._id(new.run))

    def _used(self, conversation_id: int) -> None:
        """Update the time when the conversation was last used: the newest prompt or end of a run."""
        times = [prompt.created for prompt in self._batch.prompts]
        times += [row.ended for row in self._batch.runs if row.ended is not None]
        if times:
            self._database.run(
                "UPDATE conversation SET updated = max(updated, ?) WHERE id = ?", max(times), conversation_id
            )


def _title(text: str) -> str:
    """Return the first line that is not blank, shortened to `_TITLE` characters."""
    line = next((line for line in map(str.strip, text.splitlines()) if line), "")
    return line if len(line) <= _TITLE else line[: _TITLE - 1].rstrip() + "…"
