"""Votes on answers, and measurements of engines outside experiments, in the file."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from paragone import Json, WeightsFile
from paragone.wire import from_json, to_json
from paragone_workbench.engines.definitions import EngineDefinition, without_literal_keys
from paragone_workbench.ids import new_id
from paragone_workbench.store.database import Database, Row, list_in, object_in
from paragone_workbench.store.errors import DAMAGED, StoreError, decoding

VoteChoice: TypeAlias = int | Literal["tie", "bad"]
"""The index of the best candidate, `tie` if all are equally good, or `bad` if all are bad."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VotedAnswer:
    engine: str
    """Name of the engine. In ratings, engines with the same name count as one engine."""
    backend: str
    model: str
    run: str
    names_its_engine: bool = False
    """Whether the answer contains the name of its engine, or of its model's family."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Vote:
    candidates: tuple[VotedAnswer, ...]
    """The answers in the order in which they were shown, from left to right."""
    choice: VoteChoice
    blind: bool
    created: float
    """When the user voted, in seconds since 1970."""
    experiment_id: int | None = None
    """The number of the experiment; None for a vote in a conversation."""
    prompt_index: int | None = None
    prompt_id: str | None = None
    """The id of the prompt in the conversation; None for a vote in an experiment."""
    id: str = field(default_factory=new_id)
    """A UUID of version 7."""

    def __post_init__(self) -> None:
        if len(self.candidates) < 2:
            raise ValueError("a vote needs two candidates or more")
        if isinstance(self.choice, int) and not 0 <= self.choice < len(self.candidates):
            raise ValueError(
                f"a vote over {len(self.candidates)} candidates cannot have the choice {self.choice}"
            )

    @property
    def engines(self) -> frozenset[str]:
        return frozenset(answer.engine for answer in self.candidates)

    @property
    def is_named(self) -> bool:
        """Whether an answer names its engine or model, so that the vote may not have been blind."""
        return any(answer.names_its_engine for answer in self.candidates)


_VOTES = """
    SELECT vote.id, candidates, choice, blind, vote.created, experiment.number, prompt_index, prompt_id
    FROM vote LEFT JOIN experiment ON experiment.id = experiment_id
"""
_ADD = """
    INSERT INTO vote (id, candidates, choice, blind, created, experiment_id, prompt_index, prompt_id)
    VALUES (?, ?, ?, ?, ?, (SELECT id FROM experiment WHERE number = ?), ?, ?)
"""
_USED = """
    UPDATE every_conversation SET updated = max(used, ?) WHERE id = (SELECT conversation_id FROM prompt WHERE id = ?)
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

    def add(self, vote: Vote, *, only_first: bool = False) -> bool:
        """Save a vote, and return whether it was saved. With `only_first`, it is not saved if the same ballot of an
        experiment already has a blind vote. A vote in a conversation counts as a use of the conversation."""
        candidates = json.dumps([to_json(answer) for answer in vote.candidates])
        about = vote.experiment_id, vote.prompt_index, vote.prompt_id
        with self._database.transaction():
            if only_first and vote.engines in self.engines_voted(vote.experiment_id, vote.prompt_index):
                return False
            self._database.run(
                _ADD, vote.id, candidates, str(vote.choice), int(vote.blind), vote.created, *about
            )
            if vote.prompt_id is not None:
                self._database.run(_USED, vote.created, vote.prompt_id)
        return True

    def engines_voted(self, experiment: int | None, prompt_index: int | None) -> set[frozenset[str]]:
        where = "blind AND experiment.number = ? AND prompt_index = ?"
        return {vote.engines for vote in self._read(where, experiment, prompt_index, skips_damaged=True)}

    def all(self, experiment: int | None = None, *, skips_damaged: bool = False) -> tuple[Vote, ...]:
        """Return all votes, or those of an experiment, oldest first. Raises StoreError for a damaged record, unless
        damaged records are skipped."""
        where = "? IS NULL OR experiment.number = ?"
        return tuple(self._read(where, experiment, experiment, skips_damaged=skips_damaged))

    def _read(self, where: str, *values: int | None, skips_damaged: bool) -> Iterator[Vote]:
        rows = self._database.rows(f"{_VOTES} WHERE {where} ORDER BY vote.number", *values)
        for row in rows:
            try:
                yield _vote(row)
            except StoreError:
                if not skips_damaged:
                    raise

    def delete(self, vote_id: str) -> None:
        self._database.run("DELETE FROM vote WHERE id = ?", vote_id)

    def delete_last(self, prompts: Iterable[str]) -> bool:
        """Delete the last vote on answers to prompts with these ids. Returns whether a vote was deleted."""
        with self._database.transaction():
            return bool(self._database.rows(_DELETE_LAST, json.dumps([*prompts])))


def _vote(row: Row) -> Vote:
    vote_id, candidates, choice, blind, created, *about = row
    with decoding(f"Vote {vote_id}"):
        return Vote(
            id=vote_id,
            candidates=tuple(from_json(VotedAnswer, answer) for answer in list_in(candidates)),
            choice=choice if choice in ("tie", "bad") else int(choice),
            blind=bool(blind),
            created=created,
            **dict(zip(("experiment_id", "prompt_index", "prompt_id"), about, strict=True)),
        )


MeasurementKind: TypeAlias = Literal["fidelity", "bench"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    kind: MeasurementKind
    engines: tuple[EngineDefinition, ...]
    """The definitions without secret options. In a measurement of fidelity, the first engine is the reference."""
    data: Mapping[str, Json]
    created: float
    """When the engines were measured, in seconds since 1970."""
    identities: tuple[str, ...] = ()
    """For each engine, a digest of its definition and its model's file; empty in records of older versions."""
    id: str = field(default_factory=new_id)
    """A UUID of version 7."""

    @property
    def measured(self) -> tuple[EngineDefinition, ...]:
        """The engines that have figures: all engines except the reference of a measurement of fidelity."""
        return self.engines[1:] if self.kind == "fidelity" else self.engines


class Measurements:
    """The measurements of engines outside experiments. All methods block, and may raise StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, measurement: Measurement) -> None:
        self._database.insert(
            "measurement",
            id=measurement.id,
            kind=measurement.kind,
            engines=json.dumps([to_json(without_literal_keys(engine)) for engine in measurement.engines]),
            data=json.dumps(measurement.data),
            created=measurement.created,
            identities=json.dumps(measurement.identities) if measurement.identities else None,
        )

    def all(self, kind: MeasurementKind) -> tuple[Measurement, ...]:
        rows = self._database.rows(
            "SELECT id, kind, engines, data, created, identities FROM measurement WHERE kind = ? ORDER BY number DESC",
            kind,
        )
        found = []
        for measurement_id, saved_kind, engines, data, created, identities in rows:
            with contextlib.suppress(*DAMAGED):
                measurement = Measurement(
                    id=measurement_id,
                    kind=saved_kind,
                    engines=tuple(from_json(EngineDefinition, engine) for engine in list_in(engines)),
                    data=object_in(data),
                    created=created,
                    identities=() if identities is None else tuple(map(str, list_in(identities))),
                )
                found.append(measurement)
        return tuple(found)

    def weights_digest(self, file: WeightsFile) -> str | None:
        """Return the saved SHA-256 of a file, if size and time of modification are still the same; else None."""
        rows = self._database.rows(
            "SELECT sha256 FROM weights WHERE path = ? AND size = ? AND modified_ns = ?",
            file.path,
            file.size,
            file.modified_ns,
        )
        return rows[0][0] if rows else None

    def save_weights_digest(self, file: WeightsFile) -> None:
        """Save the SHA-256 of a file. All fields of `file` must be set."""
        self._database.insert(
            "weights",
            conflict="OR REPLACE",
            path=file.path,
            size=file.size,
            modified_ns=file.modified_ns,
            sha256=file.sha256,
        )
