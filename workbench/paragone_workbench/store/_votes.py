"""Reads and writes votes."""

from __future__ import annotations

import json

from paragone_workbench.store._database import Database
from paragone_workbench.store.experiment_records import SavedVote

__all__ = ["Votes"]

_COLUMNS = "candidates, choice, blind, created, experiment_id, prompt_index, prompt_id"


class Votes:
    """The votes of the history. Calls block; all may raise StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, vote: SavedVote) -> int:
        """Save a vote and return its id."""
        return self._database.run(
            f"INSERT INTO vote ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?)",  # noqa: S608 (the names of columns)
            json.dumps(vote.candidates),
            vote.choice,
            int(vote.blind),
            vote.created,
            vote.experiment_id,
            vote.prompt_index,
            vote.prompt_id,
        )

    def all(self, experiment_id: int | None = None) -> tuple[SavedVote, ...]:
        """Return the votes, oldest first: all, or those of one experiment."""
        rows = self._database.rows(
            f"SELECT id, {_COLUMNS} FROM vote WHERE ? IS NULL OR experiment_id = ? ORDER BY id",  # noqa: S608 (the names of columns)
            experiment_id,
            experiment_id,
        )
        return tuple(
            SavedVote(
                id=number,
                candidates=tuple(json.loads(candidates)),
                choice=choice,
                blind=bool(blind),
                created=created,
                experiment_id=experiment,
                prompt_index=prompt_index,
                prompt_id=prompt_id,
            )
            for number, candidates, choice, blind, created, experiment, prompt_index, prompt_id in rows
        )

    def delete(self, vote_id: int) -> None:
        """Delete a vote, as when it is taken back."""
        self._database.run("DELETE FROM vote WHERE id = ?", vote_id)
