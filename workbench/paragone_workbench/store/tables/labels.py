"""Writes what users do with conversations: titles, pins, tags, and deletions that can be undone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from paragone import InputError
from paragone_workbench.store.file.database import clean
from paragone_workbench.store.tables.writing import title_of

if TYPE_CHECKING:
    from paragone_workbench.store.file.database import Database

_UPDATE = "UPDATE conversation SET {} WHERE number = ? AND deleted_by IS NULL RETURNING id"


def rename(database: Database, number: int, title: str) -> None:
    """Give a conversation another title: the first line of a text."""
    _update(database, number, "title = ?", title_of(clean(title)))


def pin(database: Database, number: int, *, pinned: bool) -> None:
    """Pin a conversation, so that it is listed before all others, or unpin it."""
    _update(database, number, "pinned = ?", int(pinned))


def tag(database: Database, number: int, names: Sequence[str]) -> None:
    """Replace the tags of a conversation by these."""
    with database.transaction():
        conversation_id = _update(database, number, "pinned = pinned")
        database.run("DELETE FROM tag WHERE conversation_id = ?", conversation_id)
        for name in names:
            database.run("INSERT OR IGNORE INTO tag VALUES (?, ?)", conversation_id, clean(name))


def hide(database: Database, number: int, owner_id: int) -> None:
    """Delete a conversation so that `restore` brings it back, as long as the program's instance is there."""
    database.run(
        "UPDATE conversation SET deleted_by = ? WHERE number = ? AND deleted_by IS NULL", owner_id, number
    )


def restore(database: Database, number: int) -> bool:
    """Bring back a conversation that `hide` deleted; return whether it was deleted. Raises InputError for an unknown conversation."""
    if database.rows(
        "UPDATE conversation SET deleted_by = NULL WHERE number = ? AND deleted_by IS NOT NULL RETURNING number",
        number,
    ):
        return True
    if not database.rows("SELECT 1 FROM conversation WHERE number = ?", number):
        raise _unknown(number)
    return False


def date_as(database: Database, number: int, original: int) -> None:
    """Give a conversation the time at which another one was last used."""
    database.run(
        "UPDATE conversation SET updated = (SELECT used FROM conversation WHERE number = ?) WHERE number = ?",
        original,
        number,
    )


def _update(database: Database, number: int, assignment: str, *values: object) -> str:
    """Change a conversation, and return its UUID. Raises InputError if the conversation does not exist."""
    for (conversation_id,) in database.rows(_UPDATE.format(assignment), *values, number):
        known: str = conversation_id
        return known
    raise _unknown(number)


def _unknown(number: int) -> InputError:
    return InputError(
        f"There is no conversation c{number}.", hint="`paragone history` lists the conversations."
    )
