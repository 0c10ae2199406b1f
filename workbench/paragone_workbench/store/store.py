"""Conversations and runs on disk."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from paragone_workbench.paths import history_file, private_folder
from paragone_workbench.store.batch import Batch, Record
from paragone_workbench.store.errors import StoreError, store_error
from paragone_workbench.store.records import Hit, SavedConversation, Summary

if TYPE_CHECKING:
    from paragone_workbench.store._database import Database
    from paragone_workbench.store._owners import Owner

__all__ = ["Store"]


class Store:
    """The history. Used by one thread, and every call returns when it is done; `History` is for the event loop.

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
        from paragone_workbench.store._interruption import interrupt_dead
        from paragone_workbench.store._owners import Owner, exclusive

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
                owner_id = database.run("INSERT INTO owner (lock) VALUES (?)", owner.lock)
            database.shorten_waiting()
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
        from paragone_workbench.store._interruption import interrupt

        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(StoreError), self._database.transaction():
            interrupt(self._database, self._owner_id)
        self._database.close()
        self._owner.release()

    def save(self, batch: Batch) -> dict[Record, int]:
        """Write a batch, all of it or nothing, and return the ids of the records that are new.

        The records themselves are left as they are. Raises ConversationDeleted where the conversation
        has an id and is gone.
        """
        from paragone_workbench.store._writing import write

        with self._database.transaction():
            # another copy that could not see this one's lock has taken it for dead
            self._database.run(
                "INSERT OR IGNORE INTO owner (id, lock) VALUES (?, ?)", self._owner_id, self._owner.lock
            )
            return write(self._database, batch, self._owner_id)

    def delete_conversation(self, conversation_id: int) -> None:
        """Delete a conversation with all that belongs to it."""
        self._database.run("DELETE FROM conversation WHERE id = ?", conversation_id)

    def conversations(self, limit: int = 50, before: Summary | None = None) -> tuple[Summary, ...]:
        """Return conversations that have a prompt, the most recently used first; `before` continues a list."""
        from paragone_workbench.store._listing import conversations

        return conversations(self._database, limit, before)

    def load(self, conversation_id: int) -> SavedConversation:
        """Return a conversation, whole. Raises InputError where there is none."""
        from paragone_workbench.store._loading import load

        with self._database.snapshot():
            return load(self._database, conversation_id)

    def search(self, text: str, limit: int = 50) -> tuple[Hit, ...]:
        """Return the prompts and finished answers in which all words of `text` stand, newest first.

        Any part of a word will do, in any script, in upper or lower case.
        """
        from paragone_workbench.store._search import search

        return search(self._database, text, limit)
