"""Reads and writes votes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable

from paragone import Json
from paragone_workbench.store.errors import DAMAGED
from paragone_workbench.store.experiment_records import SavedVote, engines_of
from paragone_workbench.store.file.database import Database
from paragone_workbench.store.tables.json_columns import list_in

_VOTES = """
    SELECT vote.id, candidates, choice, blind, vote.created, experiment.number, prompt_index, prompt_id
    FROM vote LEFT JOIN experiment ON experiment.id = experiment_id
"""
_ADD = """
    INSERT INTO vote (id, candidates, choice, blind, created, experiment_id, prompt_index, prompt_id)
    VALUES (?, ?, ?, ?, ?, (SELECT id FROM experiment WHERE number = ?), ?, ?)
"""
_USED = """
    UPDATE conversation SET updated = max(used, ?) WHERE id = (SELECT conversation_id FROM prompt WHERE id = ?)
"""
_BLIND = """
    SELECT candidates FROM vote JOIN experiment ON experiment.id = experiment_id
    WHERE blind AND experiment.number = ? AND prompt_index = ?
"""
_DELETE_LAST = """
    DELETE FROM vote WHERE number = (
      SELECT max(number) FROM vote WHERE prompt_id IN (SELECT value FROM json_each(?))
    ) RETURNING number
"""


class Votes:
    """The votes of the history. All methods block, and may raise StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, vote: SavedVote) -> str:
        """Save a vote and return the vote's id. A vote in a conversation is also a use of the conversation."""
        with self._database.transaction():
            self._add(vote)
        return vote.id

    def _add(self, vote: SavedVote) -> None:
        self._database.run(
            _ADD,
            vote.id,
            json.dumps(vote.candidates),
            vote.choice,
            int(vote.blind),
            vote.created,
            vote.experiment_id,
            vote.prompt_index,
            vote.prompt_id,
        )
        if vote.prompt_id is not None:
            self._database.run(_USED, vote.created, vote.prompt_id)

    def add_first(self, vote: SavedVote) -> bool:
        """Save a vote on a ballot of an experiment, unless a blind vote was saved before, perhaps by another program.

        Returns whether the vote was saved.
        """
        with self._database.transaction():
            assert vote.experiment_id is not None
            assert vote.prompt_index is not None
            is_first = engines_of(vote.candidates) not in self.engines_voted(
                vote.experiment_id, vote.prompt_index
            )
            if is_first:
                self._add(vote)
        return is_first

    def engines_voted(self, experiment: int, prompt_index: int) -> set[frozenset[str]]:
        """Return the names of the engines of each blind vote on a prompt of an experiment."""
        rows = self._database.rows(_BLIND, experiment, prompt_index)
        return {engines_of(_candidates(candidates)) for (candidates,) in rows}

    def all(self, experiment: int | None = None) -> tuple[SavedVote, ...]:
        """Return all votes, or the votes of the experiment with this number, oldest first."""
        rows = self._database.rows(
            f"{_VOTES} WHERE ? IS NULL OR experiment.number = ? ORDER BY vote.number", experiment, experiment
        )
        return tuple(
            SavedVote(
                id=vote_id,
                candidates=_candidates(candidates),
                choice=choice,
                blind=bool(blind),
                created=created,
                experiment_id=number,
                prompt_index=prompt_index,
                prompt_id=prompt_id,
            )
            for vote_id, candidates, choice, blind, created, number, prompt_index, prompt_id in rows
        )

    def delete(self, vote_id: str) -> None:
        self._database.run("DELETE FROM vote WHERE id = ?", vote_id)

    def delete_last(self, prompts: Iterable[str]) -> bool:
        """Delete the last vote on answers to prompts with these ids. Returns whether a vote was deleted."""
        return bool(self._database.rows(_DELETE_LAST, json.dumps([*prompts])))


def _candidates(text: str) -> tuple[Json, ...]:
    with contextlib.suppress(*DAMAGED):
        return tuple(list_in(text))
    return ()
