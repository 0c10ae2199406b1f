"""Marks runs as interrupted if the program ended before they did. The text saved by then is kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from paragone_workbench.store.file.database import Database

__all__ = ["interrupt", "interrupt_dead", "saved_text"]


def interrupt_dead(database: Database, alive: set[str]) -> None:
    """Mark the runs of instances of the program that have ended as interrupted, and delete their owner rows.

    `alive` contains the lock names of the instances that still exist.
    """
    for owner_id, lock in database.rows("SELECT id, lock FROM owner"):
        if lock not in alive:
            interrupt(database, owner_id)


def interrupt(database: Database, owner_id: int) -> None:
    """Mark the unfinished runs of one instance of the program as interrupted, and delete its owner row."""
    for (run_id,) in database.rows("SELECT id FROM run WHERE owner_id = ?", owner_id):
        text, thinking = saved_text(database, run_id)
        database.run(
            "UPDATE run SET state = 'interrupted', text = ?, thinking = ?, owner_id = NULL WHERE id = ?",
            text,
            thinking,
            run_id,
        )
        database.run("DELETE FROM piece WHERE run_id = ?", run_id)
    database.run("DELETE FROM owner WHERE id = ?", owner_id)


def saved_text(database: Database, run_id: str) -> tuple[str, str]:
    """Return the answer and the thinking of an unfinished run, as far as they are saved."""
    rows = database.rows("SELECT text, thinking FROM run WHERE id = ?", run_id)
    rows += database.rows("SELECT text, thinking FROM piece WHERE run_id = ? ORDER BY position", run_id)
    return "".join(text for text, _ in rows), "".join(thinking for _, thinking in rows)
