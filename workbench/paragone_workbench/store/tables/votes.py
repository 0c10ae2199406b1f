"""Reads and writes votes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator

from paragone.wire import from_json, to_json
from paragone_workbench.store.errors import StoreError, decoding
from paragone_workbench.store.experiment_records import Vote, VoteChoice, VotedAnswer
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
_DELETE_LAST = """
    DELETE FROM vote WHERE number = (
      SELECT max(number) FROM vote WHERE prompt_id IN (SELECT value FROM json_each(?))
    ) RETURNING number
"""


class Votes:
    """The votes of the history. All methods block, and may raise StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, vote: Vote) -> str:
        """Save a vote and return the vote's id. A vote in a conversation is also a use of the conversation."""
        with self._database.transaction():
            self._add(vote)
        return vote.id

    def _add(self, vote: Vote) -> None:
        self._database.run(
            _ADD,
            vote.id,
            json.dumps([to_json(answer) for answer in vote.candidates]),
            str(vote.choice),
            int(vote.blind),
            vote.created,
            vote.experiment_id,
            vote.prompt_index,
            vote.prompt_id,
        )
        if vote.prompt_id is not None:
            self._database.run(_USED, vote.created, vote.prompt_id)

    def add_first(self, vote: Vote) -> bool:
        """Save a vote on a ballot of an experiment, unless a blind vote was saved before, perhaps by another program.

        Returns whether the vote was saved.
        """
        with self._database.transaction():
            assert vote.experiment_id is not None
            assert vote.prompt_index is not None
            is_first = vote.engines not in self.engines_voted(vote.experiment_id, vote.prompt_index)
            if is_first:
                self._add(vote)
        return is_first

    def engines_voted(self, experiment: int, prompt_index: int) -> set[frozenset[str]]:
        """Return the names of the engines of each blind vote on a prompt of an experiment."""
        where = "blind AND experiment.number = ? AND prompt_index = ?"
        return {vote.engines for vote in self._read(where, experiment, prompt_index, skips_damaged=True)}

    def all(self, experiment: int | None = None, *, skips_damaged: bool = False) -> tuple[Vote, ...]:
        """Return all votes, or the votes of the experiment with this number, oldest first.

        Raises StoreError at a damaged record, unless these are skipped.
        """
        where = "? IS NULL OR experiment.number = ?"
        return tuple(self._read(where, experiment, experiment, skips_damaged=skips_damaged))

    def _read(self, where: str, *values: int | None, skips_damaged: bool) -> Iterator[Vote]:
        rows = self._database.rows(f"{_VOTES} WHERE {where} ORDER BY vote.number", *values)
        for row in rows:
            try:
                yield _vote(*row)
            except StoreError:
                if not skips_damaged:
                    raise

    def delete(self, vote_id: str) -> None:
        self._database.run("DELETE FROM vote WHERE id = ?", vote_id)

    def delete_last(self, prompts: Iterable[str]) -> bool:
        """Delete the last vote on answers to prompts with these ids. Returns whether a vote was deleted."""
        return bool(self._database.rows(_DELETE_LAST, json.dumps([*prompts])))


def _vote(
    vote_id: str,
    candidates: str,
    choice: str,
    blind: int,
    created: float,
    experiment: int | None,
    prompt_index: int | None,
    prompt_id: str | None,
) -> Vote:
    with decoding(f"Vote {vote_id}"):
        return Vote(
            id=vote_id,
            candidates=tuple(from_json(VotedAnswer, answer) for answer in list_in(candidates)),
            choice=_choice(choice),
            blind=bool(blind),
            created=created,
            experiment_id=experiment,
            prompt_index=prompt_index,
            prompt_id=prompt_id,
        )


def _choice(text: str) -> VoteChoice:
    match text:
        case "tie" | "bad":
            return text
        case _:
            return int(text)
