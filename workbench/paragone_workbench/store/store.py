"""Conversations and runs on disk, as they happen."""

from __future__ import annotations

import base64
import contextlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from paragone import FinishReason, Image, Json
from paragone.wire import to_json
from paragone_workbench.engines.definitions import EngineDefinition, to_keep
from paragone_workbench.paths import history_file, private_folder
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.store._reading import conversations, load
from paragone_workbench.store._runs import bury, clean, finish_run, interrupt
from paragone_workbench.store._search import search
from paragone_workbench.store.errors import StoreError, told
from paragone_workbench.store.records import EndState, Hit, SavedConversation, Summary

if TYPE_CHECKING:
    from paragone_workbench.store._database import Database
    from paragone_workbench.store._owners import Owner

__all__ = ["Store"]

_TITLE = 80  # characters


class Store:
    """The history. Used by one thread; every call returns when it is done, most in well under a millisecond.

    Any call may raise StoreError. Several copies of the program may have the same file open.
    """

    def __init__(self, database: Database, owner: Owner, owner_id: int) -> None:
        self._database = database
        self._owner = owner
        self._owner_id = owner_id
        self._closed = False

    @classmethod
    def open(cls, path: Path | None = None) -> Store:
        """Open the history, or begin it; `path` is for another file than the user's own.

        Runs that were cut off by the end of their program are marked as interrupted, with what
        had been saved. Raises InputError where a newer version of the program wrote the file, and
        ParagoneError where it cannot be used; one that is damaged is set aside: see `warning`.
        """
        from paragone_workbench.store._database import Database
        from paragone_workbench.store._owners import Owner, alone

        path = history_file() if path is None else path
        with contextlib.ExitStack() as undo:
            try:
                private_folder(path.parent)
                undo.enter_context(alone(path.with_name(f"{path.name}.opening")))
                owner = Owner(path.with_name(f"{path.name}.owners"))
            except OSError as error:
                raise told(path, error) from error
            failed = undo.enter_context(contextlib.ExitStack())
            failed.callback(owner.release)
            database = Database(path)
            failed.callback(database.close)
            with database.transaction():
                bury(database, owner.alive())
                owner_id = database.run("INSERT INTO owner (lock) VALUES (?)", owner.lock)
            failed.pop_all()
        return cls(database, owner, owner_id)

    @property
    def warning(self) -> str:
        """What the user should hear of the file as it was found; empty when all was well."""
        return self._database.warning

    def close(self) -> None:
        """Close the file; a run that has not ended is marked as interrupted.

        Never fails, and may be called twice.
        """
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(StoreError), self._database.transaction():
            interrupt(self._database, self._owner_id)
        self._database.close()
        self._owner.release()

    # ── Writing ──────────────────────────────────────────────────────────────────────────────

    def new_conversation(self, *, system: str = "") -> int:
        """Begin a conversation and return its id. Its title comes from its first prompt."""
        now = time.time()
        return self._database.run(
            "INSERT INTO conversation (system, created, updated) VALUES (?, ?, ?)", clean(system), now, now
        )

    def delete_conversation(self, conversation_id: int) -> None:
        """Delete a conversation with all that belongs to it."""
        self._database.run("DELETE FROM conversation WHERE id = ?", conversation_id)

    def add_lane(self, conversation_id: int, definition: EngineDefinition, *, position: int) -> int:
        """Add a lane and return its id. Positions order the lanes, from the left."""
        return self._database.run(
            "INSERT INTO lane (conversation_id, position, definition) VALUES (?, ?, ?)",
            conversation_id,
            position,
            json.dumps(to_json(to_keep(definition))),
        )

    def set_lane_engine(self, lane_id: int, definition: EngineDefinition) -> None:
        """Give a lane another engine; the runs it has had keep theirs."""
        self._database.run(
            "UPDATE lane SET definition = ? WHERE id = ?", json.dumps(to_json(to_keep(definition))), lane_id
        )

    def close_lane(self, lane_id: int) -> None:
        """Mark a lane as closed; what it answered is kept."""
        self._database.run("UPDATE lane SET closed = 1 WHERE id = ?", lane_id)

    def add_prompt(
        self, conversation_id: int, text: str, *, parent_id: int | None, images: Sequence[Image] = ()
    ) -> int:
        """Add a prompt after the prompt `parent_id`, None for the first, and return its id."""
        text = clean(text)
        now = time.time()
        with self._database.transaction():
            prompt_id = self._database.run(
                "INSERT INTO prompt (conversation_id, parent_id, text, created) VALUES (?, ?, ?, ?)",
                conversation_id,
                parent_id,
                text,
                now,
            )
            for image in images:
                self._database.run(
                    "INSERT INTO image (prompt_id, name, media_type, data) VALUES (?, ?, ?, ?)",
                    prompt_id,
                    clean(image.name),
                    image.media_type,
                    base64.b64decode(image.data),
                )
            self._database.run(
                "UPDATE conversation SET updated = ?, title = iif(title = '', ?, title) WHERE id = ?",
                now,
                _title(text),
                conversation_id,
            )
        return prompt_id

    def start_run(
        self, *, prompt_id: int, lane_id: int, definition: EngineDefinition, manifest: Mapping[str, Json]
    ) -> int:
        """Begin the run of a prompt in a lane and return its id; earlier ones of the same are kept."""
        return self._database.run(
            "INSERT INTO run (prompt_id, lane_id, owner_id, engine, backend, model, manifest, state, started)"
            " VALUES (?, ?, ?, ?, ?, ?, ?, 'running', ?)",
            prompt_id,
            lane_id,
            self._owner_id,
            clean(definition.name),
            definition.backend,
            clean(definition.model),
            json.dumps(manifest),
            time.time(),
        )

    def append_run(self, run_id: int, *, text: str = "", thinking: str = "") -> None:
        """Save what a run has said since the last call. It costs what is new, however long the answer is.

        A run that has ended, or was deleted meanwhile, takes nothing more.
        """
        if text or thinking:
            self._database.run(
                "INSERT INTO piece (run_id, text, thinking)"
                " SELECT id, ?, ? FROM run WHERE id = ? AND state = 'running'",
                clean(text),
                clean(thinking),
                run_id,
            )

    def end_run(
        self,
        run_id: int,
        state: EndState,
        *,
        finish: FinishReason | None = None,
        error: str = "",
        metrics: RunMetrics | None = None,
    ) -> None:
        """End a run: from now on its answer is found by search. Ending it again changes nothing."""
        now = time.time()
        with self._database.transaction():
            finish_run(
                self._database,
                run_id,
                state,
                ended=now,
                finish=finish,
                error=clean(error),
                metrics=None if metrics is None else json.dumps(to_json(metrics)),
            )
            self._database.run(
                "UPDATE conversation SET updated = ? WHERE id ="
                " (SELECT conversation_id FROM prompt JOIN run ON prompt.id = prompt_id WHERE run.id = ?)",
                now,
                run_id,
            )

    # ── Reading ──────────────────────────────────────────────────────────────────────────────

    def conversations(self, limit: int = 50, before: Summary | None = None) -> tuple[Summary, ...]:
        """Return conversations that have a prompt, the most recently used first; `before` continues a list."""
        return conversations(self._database, limit, before)

    def load(self, conversation_id: int) -> SavedConversation:
        """Return a conversation, whole. Raises InputError where there is none."""
        return load(self._database, conversation_id)

    def search(self, text: str, limit: int = 50) -> tuple[Hit, ...]:
        """Return the prompts and finished answers in which all words of `text` stand, newest first.

        Any part of a word will do, in any script, in upper or lower case.
        """
        return search(self._database, clean(text), limit)


def _title(text: str) -> str:
    """Return the first line that says something, cut to length."""
    line = next((line for line in map(str.strip, text.splitlines()) if line), "")
    return line if len(line) <= _TITLE else line[: _TITLE - 1].rstrip() + "…"
