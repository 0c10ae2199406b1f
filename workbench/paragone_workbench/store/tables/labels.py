"""Reads and writes what users give to conversations: titles, pins and tags."""

from __future__ import annotations

from collections.abc import Iterable

from paragone import InputError
from paragone_workbench.store.file.database import Database, clean
from paragone_workbench.store.query import tag_name
from paragone_workbench.store.tables.writing import title_of

_UPDATE = "UPDATE conversation SET {} WHERE number = ? RETURNING id"


class Labels:
    """The titles, pins and tags of conversations.

    All methods raise InputError if no conversation has the number.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def rename(self, number: int, title: str) -> None:
        """Give a conversation a new title: the first line of `title`."""
        self._update(number, "title = ?", title_of(clean(title)))

    def pin(self, number: int, *, pinned: bool) -> None:
        """Pin or unpin a conversation. Pinned conversations come first in the list."""
        self._update(number, "pinned = ?", int(pinned))

    def tag(self, number: int, tags: Iterable[str]) -> None:
        """Replace the tags of a conversation. Raises InputError for an invalid tag too."""
        names = [tag_name(name) for name in tags]
        with self._database.transaction():
            conversation_id = self._update(number, "pinned = pinned")
            self._database.run("DELETE FROM tag WHERE conversation_id = ?", conversation_id)
            for name in names:
                self._database.run("INSERT OR IGNORE INTO tag VALUES (?, ?)", conversation_id, clean(name))

    def _update(self, number: int, assignment: str, *values: object) -> str:
        """Change a conversation, and return the UUID of the conversation."""
        for (conversation_id,) in self._database.rows(_UPDATE.format(assignment), *values, number):
            return str(conversation_id)
        raise InputError(
            f"There is no conversation c{number}.", hint="`paragone history` lists the conversations."
        )
