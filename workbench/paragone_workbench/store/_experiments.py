"""Reads and writes experiments and their runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from paragone import InputError, Json
from paragone.wire import from_json, to_json
from paragone_workbench.engines.definitions import EngineDefinition, without_passwords
from paragone_workbench.runs.record import RunRecord
from paragone_workbench.store._database import Database, Row
from paragone_workbench.store._owners import Owner
from paragone_workbench.store._run_columns import COLUMNS, record_of, values_of
from paragone_workbench.store._surrogates import clean
from paragone_workbench.store._tokens import pack, unpack
from paragone_workbench.store.experiment_records import Experiment, ExperimentRun, RunKey
from paragone_workbench.visible_text import visible

__all__ = ["Experiments"]

_EXPERIMENT = """
    SELECT id, name, fingerprint, schedule, repetitions, engines, machine, prompts, created,
      (SELECT count(*) FROM experiment_run WHERE experiment_id = experiment.id AND state = 'done'),
      (SELECT count(*) FROM experiment_run WHERE experiment_id = experiment.id AND state = 'failed')
    FROM experiment
"""
_SUGGESTED = 5
"""Number of experiments that the message about an unknown one lists."""

_KEY = "prompt_index, engine_index, repetition"
_RUN = f"""
    SELECT experiment_run.id, {_KEY}, manifest.data, request, text, thinking, tokens, assertions, {COLUMNS}
    FROM experiment_run LEFT JOIN manifest ON manifest.id = manifest_id
"""  # noqa: S608 (the names of columns)
_SAVE = f"""
    INSERT OR REPLACE INTO experiment_run
      (experiment_id, {_KEY}, manifest_id, request, text, thinking, tokens, assertions, {COLUMNS})
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, {", ".join("?" * len(COLUMNS.split(", ")))})
"""  # noqa: S608 (the names of columns)


class Experiments:
    """The experiments of the history. Calls block; all may raise StoreError."""

    def __init__(self, database: Database, owner: Owner, owner_id: int) -> None:
        self._database = database
        self._owner = owner
        self._owner_id = owner_id

    def create(self, experiment: Experiment, prompts: Iterable[tuple[int, Json]]) -> int:
        """Add an experiment with its prompts and their indices, claim it, and return its id."""
        with self._database.transaction():
            new = self._database.run(
                "INSERT INTO experiment (name, fingerprint, schedule, repetitions, engines, machine, prompts,"
                " created, owner_id) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                clean(experiment.name),
                experiment.fingerprint,
                experiment.schedule,
                experiment.repetitions,
                json.dumps([to_json(without_passwords(it)) for it in experiment.engines]),
                json.dumps(experiment.machine),
                experiment.prompts,
                experiment.created,
                self._owner_id,
            )
            for position, content in prompts:
                self._database.run(
                    "INSERT INTO experiment_prompt (experiment_id, position, content) VALUES (?, ?, ?)",
                    new,
                    position,
                    json.dumps(content),
                )
        return new

    def claim(self, experiment_id: int) -> None:
        """Mark the experiment as being run by this instance. Raises InputError if another one runs it."""
        with self._database.transaction():
            for (lock,) in self._database.rows(
                "SELECT lock FROM owner JOIN experiment ON owner.id = owner_id WHERE experiment.id = ?",
                experiment_id,
            ):
                if lock != self._owner.lock and lock in self._owner.alive():
                    raise InputError(
                        f"Experiment e{experiment_id} is being run by another instance of paragone.",
                        hint="Wait until it has ended, or stop it. What it has finished is kept.",
                    )
            self._database.run(
                "UPDATE experiment SET owner_id = ? WHERE id = ?", self._owner_id, experiment_id
            )

    def find(self, fingerprint: str) -> Experiment | None:
        """Return the newest experiment with this fingerprint, or None."""
        rows = self._database.rows(
            f"{_EXPERIMENT} WHERE fingerprint = ? ORDER BY id DESC LIMIT 1", fingerprint
        )
        return _experiment(rows[0]) if rows else None

    def get(self, experiment_id: int) -> Experiment:
        """Return an experiment. Raises InputError if it does not exist."""
        rows = self._database.rows(f"{_EXPERIMENT} WHERE id = ?", experiment_id)
        if not rows:
            raise InputError(f"There is no experiment e{experiment_id}.", hint=self.newest())
        return _experiment(rows[0])

    def all(self) -> tuple[Experiment, ...]:
        """Return all experiments, newest first."""
        return tuple(map(_experiment, self._database.rows(f"{_EXPERIMENT} ORDER BY id DESC")))

    def newest(self, others: Sequence[str] = ()) -> str:
        """Return a hint with the ids of the newest experiments, and `others` after them."""
        rows = self._database.rows("SELECT id, name FROM experiment ORDER BY id DESC LIMIT ?", _SUGGESTED)
        found = [*(f"e{number} ({name})" for number, name in rows), *others]
        return f"The newest are: {visible(', '.join(found))}." if found else "The history has none yet."

    def delete(self, experiment_id: int) -> None:
        """Delete an experiment with its prompts and runs. Its votes are kept."""
        self._database.run("DELETE FROM experiment WHERE id = ?", experiment_id)

    def prompts(self, experiment_id: int, first: int = 0, limit: int = -1) -> tuple[tuple[int, Json], ...]:
        """Return prompts with their indices, in order, from index `first` on; -1: without a limit."""
        rows = self._database.rows(
            "SELECT position, content FROM experiment_prompt WHERE experiment_id = ? AND position >= ?"
            " ORDER BY position LIMIT ?",
            experiment_id,
            first,
            limit,
        )
        return tuple((position, json.loads(content)) for position, content in rows)

    def judges(self, experiment_id: int) -> tuple[str, ...]:
        """Return what identifies the engines that judged answers of an experiment, each once."""
        rows = self._database.rows(
            "SELECT DISTINCT json_extract(result.value, '$.judges') AS judges"
            " FROM experiment_run, json_each(experiment_run.assertions) AS result"
            " WHERE experiment_id = ? AND judges != '' ORDER BY judges",
            experiment_id,
        )
        return tuple(judges for (judges,) in rows)

    def save(self, experiment_id: int, key: RunKey, run: RunRecord, assertions: Sequence[Json] = ()) -> int:
        """Write an ended run in place of an earlier one with the same key, and return its id."""
        request = {**run.manifest}.pop("request", {})
        with self._database.transaction():
            return self._database.run(
                _SAVE,
                experiment_id,
                key.prompt_index,
                key.engine_index,
                key.repetition,
                self._manifest(run.manifest),
                json.dumps(request),
                clean(run.text),
                clean(run.thinking),
                pack(run.tokens) if run.tokens else None,
                json.dumps(assertions),
                *values_of(run),
            )

    def save_assertions(self, run_id: int, assertions: Sequence[Json]) -> None:
        """Replace the results of the assertions of a saved run."""
        self._database.run(
            "UPDATE experiment_run SET assertions = ? WHERE id = ?", json.dumps(assertions), run_id
        )

    def states(self, experiment_id: int, first: int, last: int) -> Mapping[RunKey, str]:
        """Return the states of the saved runs of the prompts from index `first` to `last`, inclusive."""
        rows = self._database.rows(
            f"SELECT {_KEY}, state FROM experiment_run"  # noqa: S608 (the names of columns)
            " WHERE experiment_id = ? AND prompt_index BETWEEN ? AND ?",
            experiment_id,
            first,
            last,
        )
        return {
            RunKey(prompt_index=prompt, engine_index=engine, repetition=repetition): state
            for prompt, engine, repetition, state in rows
        }

    def runs(
        self, experiment_id: int, *, after: RunKey | None = None, limit: int = -1
    ) -> Iterator[ExperimentRun]:
        """Yield the saved runs in the order of their keys, those after `after` only; -1: without a limit."""
        start = (-1, -1, -1) if after is None else (after.prompt_index, after.engine_index, after.repetition)
        for row in self._database.stream(
            f"{_RUN} WHERE experiment_id = ? AND ({_KEY}) > (?, ?, ?) ORDER BY {_KEY} LIMIT ?",
            experiment_id,
            *start,
            limit,
        ):
            yield _run(row)

    def run(self, experiment_id: int, run_id: int) -> ExperimentRun:
        """Return one run. Raises InputError if it does not exist."""
        rows = self._database.rows(
            f"{_RUN} WHERE experiment_id = ? AND experiment_run.id = ?", experiment_id, run_id
        )
        if not rows:
            raise InputError(f"Experiment e{experiment_id} has no run e{experiment_id}/{run_id}.")
        return _run(rows[0])

    def _manifest(self, manifest: Mapping[str, Json]) -> int | None:
        """Save the part of a manifest that runs have in common, once, and return its id."""
        if not manifest:
            return None
        common = {name: value for name, value in manifest.items() if name != "request"}
        data = json.dumps(common, sort_keys=True)
        digest = hashlib.sha256(data.encode()).hexdigest()
        found = self._database.rows("SELECT id FROM manifest WHERE sha256 = ?", digest)
        if found:
            known: int = found[0][0]
            return known
        return self._database.run("INSERT INTO manifest (sha256, data) VALUES (?, ?)", digest, data)


def _experiment(row: Row) -> Experiment:
    number, name, fingerprint, schedule, repetitions, engines, machine, prompts, created, done, failed = row
    return Experiment(
        id=number,
        name=name,
        fingerprint=fingerprint,
        schedule=schedule,
        repetitions=repetitions,
        engines=tuple(from_json(EngineDefinition, it) for it in json.loads(engines)),
        machine=json.loads(machine),
        prompts=prompts,
        created=created,
        done=done,
        failed=failed,
    )


def _run(row: Row) -> ExperimentRun:
    number, prompt, engine, repetition, manifest, request, text, thinking, tokens, assertions = row[:10]
    known: dict[str, Any] = (
        {} if manifest is None else {**json.loads(manifest), "request": json.loads(request)}
    )
    record = record_of(row[10:], known)
    record.id = number
    record.tokens = [] if tokens is None else unpack(tokens)
    if text:
        record.add("answer", text)
    if thinking:
        record.add("thinking", thinking)
    return ExperimentRun(
        key=RunKey(prompt_index=prompt, engine_index=engine, repetition=repetition),
        record=record,
        assertions=tuple(json.loads(assertions)),
    )
