"""The history file: conversations and runs on disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from paragone_workbench.paths import history_file
from paragone_workbench.runs.result import Costs, RunResult
from paragone_workbench.store import conversations, database, experiments, outbox, records, runs, search


class Store(conversations.Conversations):
    """The history. Calls block, come from one thread (see `History`), and may raise StoreError. Several instances can
    use the file."""

    def __init__(self, opened: database.Database) -> None:
        super().__init__(opened)
        self._is_closed = False
        self.warning = opened.warning
        """A message for the user if the file was damaged or too old and replaced, or can only be read; else empty."""
        self.experiments = experiments.Experiments(opened)
        self.votes = experiments.Votes(opened)
        self.measurements = experiments.Measurements(opened)

    @classmethod
    def open(cls, path: Path | None = None) -> Store:
        """Open or create the history file, by default the user's, and mark runs of ended instances as interrupted. A
        damaged or too old file is set aside, and one that cannot be written to is only read: see `warning`. Raises
        InputError if a newer version wrote it, and ParagoneError."""
        store = cls(database.Database.registered(history_file() if path is None else path))
        store.wait_for_locks(database.BUSY_S)
        return store

    def close(self) -> None:
        """Close the file; runs in progress become interrupted. May be called twice; raises no StoreError."""
        if not self._is_closed:
            self._is_closed = True
            self._database.release()

    def wait_for_locks(self, seconds: float) -> None:
        """Set how long each statement waits from now on while another program keeps the file locked."""
        self._database.rows(f"PRAGMA busy_timeout = {seconds * 1000:.0f}")

    def save(
        self, writes: Mapping[outbox.RecordKey, outbox.Write], draft: records.DraftRecord | None = None
    ) -> dict[outbox.RecordKey, int]:
        """Write all of a conversation's writes, and the draft unless it is None, or nothing. Returns the numbers of
        the conversation and of runs. Raises ConversationDeleted."""
        with self._database.transaction():
            self._keep_owner()
            if draft is not None:
                conversations.keep_draft(self._database, draft, self._database.owner_id)
            done = {key: write(self._database, self._database.owner_id) for key, write in writes.items()}
        return {key: number for key, number in done.items() if number is not None}

    def save_run(self, result: RunResult, *, purpose: runs.Purpose, about_id: str | None = None) -> None:
        """Write an ended run of a judge or a replay, which belongs to nothing but the run `about_id`, if the history
        has it."""
        with self._database.transaction():
            if not self._database.rows("SELECT 1 FROM run WHERE id = ?", about_id):
                about_id = None
            runs.save_run(self._database, result, purpose=purpose, about_id=about_id)

    def _keep_owner(self) -> None:
        """Add this instance's row again, if another instance that cannot see this instance's lock has deleted the row."""
        self._database.insert(
            "owner", conflict="OR IGNORE", id=self._database.owner_id, lock=self._database.owner.lock
        )

    def keep_draft(self, draft: records.DraftRecord) -> None:
        """Save this instance's draft in place of any other. An empty draft only removes this instance's draft."""
        with self._database.transaction():
            self._keep_owner()
            conversations.keep_draft(self._database, draft, self._database.owner_id)

    def take_draft(self) -> records.DraftRecord | None:
        """Assign the draft of an ended instance of the program to this instance, and return the draft, or None."""
        self._keep_owner()
        return conversations.take_draft(self._database, self._database.owner_id)

    @property
    def is_shared(self) -> bool:
        ((owners,),) = self._database.rows("SELECT count(*) FROM owner")
        return bool(owners > 1)

    def costs(self, since: float = 0.0) -> Mapping[str, Costs]:
        """Return the costs of runs that started at `since` (seconds since 1970) or later, by the engines' names."""
        return runs.costs(self._database, since)

    def search(self, text: str, limit: int = 50, *, one_each: bool = False) -> tuple[records.Hit, ...]:
        """Return the prompts and finished answers that have all words of `text` in any case, also inside longer
        words, newest first; a title only without another hit. Words may be filters: see `read_query`. Raises
        InputError."""
        query = records.read_query(text)
        return (
            search.search(self._database, query, limit, one_each=one_each) if query != records.Query() else ()
        )
