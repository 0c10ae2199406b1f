"""The history file: conversations and runs on disk."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from paragone import InputError
from paragone_workbench.paths import history_file, private_folder
from paragone_workbench.store.changes import Changes
from paragone_workbench.store.errors import StoreError, store_error
from paragone_workbench.store.records import DraftRecord, Hit, SavedConversation, Summary

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from paragone_workbench.runs.result import Costs, RunResult
    from paragone_workbench.store.database import Database, Owner
    from paragone_workbench.store.records import Query
    from paragone_workbench.store.runs import Purpose


class Store:
    """The history. Calls block, and must come from one thread; on the event loop use `History` instead.

    All methods except `close` may raise StoreError. Several instances of the program may use the same file.
    """

    def __init__(self, database: Database, owner: Owner, owner_id: int) -> None:
        # All tables are imported here or in methods, so that modules that only name this class are imported faster.
        from paragone_workbench.store.conversations import Labels
        from paragone_workbench.store.experiments import Experiments, Measurements, Votes

        self._database = database
        self._owner = owner
        self._owner_id = owner_id
        self._closed = False
        self.warning = database.warning
        """A message for the user if the file was damaged or too old and replaced; otherwise empty."""
        self.experiments = Experiments(database, owner, owner_id)
        self.votes = Votes(database)
        self.labels = Labels(database)
        self.measurements = Measurements(database)

    @classmethod
    def open(cls, path: Path | None = None) -> Store:
        """Open the history file, or create it. `path` replaces the user's default file.

        Runs that were in progress when their program ended are marked as interrupted; their saved text is kept. A
        damaged or too old file is renamed and replaced by a new one: see `warning`. Raises InputError if a newer
        version of the program wrote the file, and ParagoneError if the file cannot be used.
        """
        from paragone_workbench.store.database import BUSY_S, Database, Owner, exclusive, interrupt_dead

        path = history_file() if path is None else path
        with contextlib.ExitStack() as undo:
            try:
                private_folder(path.parent)
                undo.enter_context(exclusive(path))
                owner = Owner(path.with_name(f"{path.name}.owners"))
            except OSError as error:
                raise store_error(path, error) from error
            failed = undo.enter_context(contextlib.ExitStack())
            failed.callback(owner.release)
            database = Database(path)
            failed.callback(database.close)
            with database.transaction():
                interrupt_dead(database, owner.alive())
                owner_id = database.insert("owner", lock=owner.lock)
            database.run(f"PRAGMA busy_timeout = {BUSY_S * 1000:.0f}")
            failed.pop_all()
        return cls(database, owner, owner_id)

    def close(self) -> None:
        """Close the file. This instance's runs that have not ended are marked as interrupted.

        Raises no StoreError, and may be called twice.
        """
        from paragone_workbench.store.database import interrupt

        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(StoreError), self._database.transaction():
            interrupt(self._database, self._owner_id)
        self._database.close()
        self._owner.release()

    def save(self, changes: Changes, draft: DraftRecord | None = None) -> dict[str, int]:
        """Write changes atomically. Returns the numbers of the conversation and of new runs, by id.

        `draft` replaces the saved draft, as with `keep_draft`; None keeps the saved draft.
        The same changes may be written again. Raises ConversationDeleted if the conversation was saved earlier, but
        another instance of the program has deleted it.
        """
        from paragone_workbench.store.conversations import keep_draft, write

        with self._database.transaction():
            self._keep_owner()
            if draft is not None:
                keep_draft(self._database, draft, self._owner_id)
            return write(self._database, changes, self._owner_id)

    def save_run(self, result: RunResult, *, purpose: Purpose, about_id: str | None = None) -> None:
        """Write an ended run that belongs to no conversation and no experiment: the run of a judge, or of a replay.

        `about_id` is the id of the run that is judged or repeated. The judged or repeated run need not be in the history.
        """
        from paragone_workbench.store.runs import save_run

        with self._database.transaction():
            if not self._database.rows("SELECT 1 FROM run WHERE id = ?", about_id):
                about_id = None
            save_run(self._database, result, purpose=purpose, about_id=about_id)

    def _keep_owner(self) -> None:
        """Add this instance's row again, if another instance that cannot see this instance's lock has deleted the row."""
        self._database.insert("owner", conflict="OR IGNORE", id=self._owner_id, lock=self._owner.lock)

    def delete_conversation(self, number: int) -> None:
        self._database.run("DELETE FROM conversation WHERE number = ?", number)

    def number_of(self, conversation_id: str) -> int | None:
        """Return the number of the conversation with this UUID; None if there is none."""
        rows = self._database.rows("SELECT number FROM conversation WHERE id = ?", conversation_id)
        return int(rows[0][0]) if rows else None

    def has_any(self, ids: Iterable[str]) -> bool:
        rows = self._database.rows(
            "SELECT 1 FROM json_each(?) WHERE value IN (SELECT id FROM prompt) OR value IN (SELECT id FROM lane)"
            " OR value IN (SELECT id FROM run) LIMIT 1",
            json.dumps([*ids]),
        )
        return bool(rows)

    def prompts(self, words: str, limit: int) -> tuple[str, ...]:
        """Return the texts of earlier prompts that contain all words, each once, newest first."""
        from paragone_workbench.store.conversations import prompts

        return prompts(self._database, words, limit)

    def keep_draft(self, draft: DraftRecord) -> None:
        """Save this instance's draft in place of any other. An empty draft only removes this instance's draft."""
        from paragone_workbench.store.conversations import keep_draft

        with self._database.transaction():
            self._keep_owner()
            keep_draft(self._database, draft, self._owner_id)

    def take_draft(self) -> DraftRecord | None:
        """Assign the draft of an ended instance of the program to this instance, and return the draft, or None."""
        from paragone_workbench.store.conversations import draft_of, take_draft

        with self._database.transaction():
            self._keep_owner()
            row = take_draft(self._database, self._owner_id)
        return None if row is None else draft_of(row)

    def conversations(
        self, limit: int = 50, before: Summary | None = None, query: Query | None = None
    ) -> tuple[Summary, ...]:
        """Return conversations with prompts: first pinned, then other conversations, each most recently used first.

        With `before`, the list starts after this entry; with `query`, the list has only conversations that fit the filters.
        """
        from paragone_workbench.store.conversations import conversations
        from paragone_workbench.store.records import Query

        return conversations(self._database, limit, before, query or Query())

    def summaries(self, numbers: Iterable[int]) -> Mapping[int, Summary]:
        """Return the list's entries for these conversations, by the numbers of the conversations."""
        from paragone_workbench.store.conversations import summaries

        return summaries(self._database, numbers)

    def last_open(self) -> Summary | None:
        """Return the conversation that was used or opened last; None without conversations."""
        from paragone_workbench.store.conversations import last_open

        return last_open(self._database)

    @property
    def is_shared(self) -> bool:
        """Whether another instance of the program has the history open."""
        ((owners,),) = self._database.rows("SELECT count(*) FROM owner")
        return bool(owners > 1)

    def load(self, number: int) -> SavedConversation:
        """Return a conversation with all its lanes and runs. Raises InputError if the conversation does not exist."""
        from paragone_workbench.store.conversations import load

        with self._database.snapshot():
            return load(self._database, number)

    def conversation_of(self, run: int) -> int:
        """Return the number of the conversation that a run belongs to. Raises InputError if the run does not exist."""
        for (number,) in self._database.rows(
            "SELECT conversation.number FROM run JOIN turn ON run_id = run.id JOIN prompt ON prompt.id = prompt_id"
            " JOIN conversation ON conversation.id = conversation_id WHERE run.number = ?",
            run,
        ):
            return int(number)
        raise InputError(f"There is no run r{run}.", hint="`paragone history` lists the conversations.")

    def costs(self, since: float = 0.0) -> Mapping[str, Costs]:
        """Return the costs of runs that started at `since` (seconds since 1970) or later, by the engines' names."""
        from paragone_workbench.store.runs import costs

        return costs(self._database, since)

    def search(self, text: str, limit: int = 50, *, one_each: bool = False) -> tuple[Hit, ...]:
        """Return the prompts and finished answers, also of experiments, that have all words of `text`, newest first.

        A word also matches inside longer words, in any script; case is ignored. Words may be filters: see `read_query`. A
        title is a hit only if the conversation has no other hit. With `one_each`, a conversation has at most one hit.
        Raises InputError if a date in the text is invalid.
        """
        from paragone_workbench.store.records import Query, read_query
        from paragone_workbench.store.search import search

        query = read_query(text)
        return search(self._database, query, limit, one_each=one_each) if query != Query() else ()
