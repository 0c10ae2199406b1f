"""Experiments and their runs, votes and measurements in the file."""

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial

from paragone import InputError, Json, WeightsFile
from paragone.wire import from_json, to_json
from paragone_workbench.engines.definitions import EngineDefinition, without_literal_keys
from paragone_workbench.runs.result import RunResult
from paragone_workbench.store import experiment_records
from paragone_workbench.store.database import Database, Row, clean, list_in, object_in
from paragone_workbench.store.errors import DAMAGED, StoreError, decoding
from paragone_workbench.store.runs import COLUMNS, MANIFEST, result_of, save_run
from paragone_workbench.text import visible

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

    def add(self, vote: experiment_records.Vote, *, only_first: bool = False) -> bool:
        """Save a vote, with `only_first` unless an earlier blind vote is on the same ballot of an experiment. Returns
        whether it was saved. A vote in a conversation is also a use of the conversation."""
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

    def all(
        self, experiment: int | None = None, *, skips_damaged: bool = False
    ) -> tuple[experiment_records.Vote, ...]:
        """Return all votes, or an experiment's, oldest first. Raises StoreError at a damaged record, unless these are
        skipped."""
        where = "? IS NULL OR experiment.number = ?"
        return tuple(self._read(where, experiment, experiment, skips_damaged=skips_damaged))

    def _read(
        self, where: str, *values: int | None, skips_damaged: bool
    ) -> Iterator[experiment_records.Vote]:
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


def _vote(row: Row) -> experiment_records.Vote:
    vote_id, candidates, choice, blind, created, *about = row
    with decoding(f"Vote {vote_id}"):
        return experiment_records.Vote(
            id=vote_id,
            candidates=tuple(
                from_json(experiment_records.VotedAnswer, answer) for answer in list_in(candidates)
            ),
            choice=choice if choice in ("tie", "bad") else int(choice),
            blind=bool(blind),
            created=created,
            **dict(zip(("experiment_id", "prompt_index", "prompt_id"), about, strict=True)),
        )


class Measurements:
    """The measurements of engines outside of experiments. All methods block, and may raise StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, measurement: experiment_records.Measurement) -> None:
        self._database.insert(
            "measurement",
            id=measurement.id,
            kind=measurement.kind,
            engines=json.dumps([to_json(without_literal_keys(engine)) for engine in measurement.engines]),
            data=json.dumps(measurement.data),
            created=measurement.created,
            identities=json.dumps(measurement.identities) if measurement.identities else None,
        )

    def all(self, kind: experiment_records.MeasurementKind) -> tuple[experiment_records.Measurement, ...]:
        rows = self._database.rows(
            "SELECT id, kind, engines, data, created, identities FROM measurement WHERE kind = ? ORDER BY number DESC",
            kind,
        )
        found = []
        for measurement_id, saved_kind, engines, data, created, identities in rows:
            with contextlib.suppress(*DAMAGED):
                measurement = experiment_records.Measurement(
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


_PLAIN = ("number", "id", "name", "fingerprint", "schedule", "repetitions", "prompts", "created")
"""Columns that `Experiment` has under the same names."""
_EXPERIMENT = f"""
    SELECT {", ".join(_PLAIN)}, engines, machine,
      (SELECT count(*) FROM cell JOIN run ON run.id = run_id
        WHERE experiment_id = experiment.id AND state = 'done'),
      (SELECT count(*) FROM cell JOIN run ON run.id = run_id
        WHERE experiment_id = experiment.id AND state = 'failed')
    FROM experiment
"""  # noqa: S608 (the names of columns)
_SUGGESTED = 5
"""Number of experiments that the message about an unknown experiment lists."""

_KEY = "prompt_index, engine_index, repetition"
_LAST_FIRST = "prompt_index DESC, engine_index DESC, repetition DESC"
_ID = "(SELECT id FROM experiment WHERE number = ?)"
_RESULTS = "json_each(iif(json_valid(cell.assertions), cell.assertions, '[]')) AS result"
"""SQL for the results of the assertions of a row of `cell`; no rows if the record is damaged."""
_FIELD = "json_extract(iif(result.type = 'object', result.value, '{{}}'), '$.{}')"
"""SQL for a field of a row of `_RESULTS`, to be formatted with the name of the field; NULL without such a field."""
_CELL = f"""
    SELECT cell.number, {_KEY}, assertions, {COLUMNS} FROM cell JOIN run ON run.id = run_id {MANIFEST}
"""  # noqa: S608 (the names of columns)

# The newest run comes first. Runs that the experiment already uses, for other cells, are left out.
_KNOWN = f"""
    SELECT cell.asked, cell.checked, assertions, {COLUMNS}
    FROM json_each(?) AS wanted JOIN cell ON cell.asked = wanted.value JOIN run ON run.id = run_id {MANIFEST}
    WHERE state = 'done' AND started >= ? AND NOT EXISTS (
      SELECT 1 FROM cell AS own WHERE own.run_id = run.id AND own.experiment_id = {_ID}
    )
    ORDER BY cell.number DESC
"""  # noqa: S608 (the names of columns)
_INSERT = f"""
    INSERT INTO cell (experiment_id, {_KEY}, run_id, assertions, asked, checked)
    SELECT {_ID}, ?, ?, ?, id, ?, ?, ? FROM run WHERE id = ?
"""  # noqa: S608 (the names of columns)


_UNFINISHED = f"""
    SELECT position, iif((
      SELECT count(*) FROM cell JOIN run ON run.id = run_id
      WHERE cell.experiment_id = prompt.experiment_id AND prompt_index = position
        AND engine_index IN (SELECT value FROM json_each(?)) AND state IN (SELECT value FROM json_each(?))
    ) < ?, content, NULL)
    FROM experiment_prompt AS prompt WHERE experiment_id = {_ID} AND position >= ? ORDER BY position LIMIT ?
"""  # noqa: S608 (the names of columns)
# To count the cells, this counts the rows whose key is 0 (a cell's first result) or NULL (a cell without results).
_COUNTS = f"""
    SELECT engine_index, state, sum(place IS NULL OR place = 0),
      sum(passed IS 1), sum(passed IS 0), sum(place IS NOT NULL AND passed IS NULL)
    FROM (
      SELECT engine_index, state, result.key AS place, {_FIELD.format("passed")} AS passed
      FROM cell JOIN run ON run.id = run_id LEFT JOIN {_RESULTS}
      WHERE experiment_id = {_ID} AND (? IS NULL OR prompt_index IN (SELECT value FROM json_each(?)))
    ) GROUP BY engine_index, state
"""  # noqa: S608 (the names of columns)


class Experiments:
    """The experiments of the history. All methods block, and may raise StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        experiment: experiment_records.Experiment,
        prompts: Iterable[tuple[int, Json]],
        *,
        fresh: bool = True,
    ) -> int:
        """Add an experiment with its prompts and their indices, claim it, and return its number. Unless `fresh`,
        return that of an experiment with the same fingerprint, which another instance may have just added,
        unclaimed."""
        with self._database.transaction():
            if not fresh and (found := self.find(experiment.fingerprint)) is not None:
                return found.number
            number = self._database.insert(
                "experiment",
                id=experiment.id,
                name=clean(experiment.name),
                fingerprint=experiment.fingerprint,
                schedule=experiment.schedule,
                repetitions=experiment.repetitions,
                engines=json.dumps([to_json(without_literal_keys(engine)) for engine in experiment.engines]),
                machine=json.dumps(experiment.machine),
                prompts=experiment.prompts,
                created=experiment.created,
                owner_id=self._database.owner_id,
            )
            insert = partial(self._database.insert, "experiment_prompt", experiment_id=experiment.id)
            for position, content in prompts:
                insert(position=position, content=json.dumps(content))
        return number

    def claim(self, number: int) -> None:
        with self._database.transaction():
            for (lock,) in self._database.rows(
                "SELECT lock FROM owner JOIN experiment ON owner.id = owner_id WHERE experiment.number = ?",
                number,
            ):
                if lock != self._database.owner.lock and lock in self._database.owner.alive():
                    raise InputError(
                        f"Experiment e{number} is being run by another instance of paragone.",
                        hint="Wait until the experiment has ended, or stop it. Its finished runs are kept.",
                    )
            self._database.run(
                "UPDATE experiment SET owner_id = ? WHERE number = ?", self._database.owner_id, number
            )

    def find(self, fingerprint: str) -> experiment_records.Experiment | None:
        rows = self._database.rows(
            f"{_EXPERIMENT} WHERE fingerprint = ? ORDER BY number DESC LIMIT 1", fingerprint
        )
        return _experiment(rows[0]) if rows else None

    def get(self, number: int) -> experiment_records.Experiment:
        rows = self._database.rows(f"{_EXPERIMENT} WHERE number = ?", number)
        if not rows:
            raise InputError(f"There is no experiment e{number}.", hint=self.newest())
        return _experiment(rows[0])

    def all(self) -> tuple[experiment_records.Experiment, ...]:
        """Return all experiments, newest first; an experiment whose record is damaged has no engines."""
        return tuple(map(_listed, self._database.rows(f"{_EXPERIMENT} ORDER BY number DESC")))

    def newest(self, others: Sequence[str] = ()) -> str:
        """Return a hint with the ids of the newest experiments, followed by `others`."""
        rows = self._database.rows(
            "SELECT number, name FROM experiment ORDER BY number DESC LIMIT ?", _SUGGESTED
        )
        found = [*(f"e{number} ({name})" for number, name in rows), *others]
        return f"The newest are: {visible(', '.join(found))}." if found else "The history has none yet."

    def delete(self, number: int) -> None:
        self._database.run("DELETE FROM experiment WHERE number = ?", number)

    def prompts(self, number: int, first: int = 0, limit: int = -1) -> tuple[tuple[int, Json], ...]:
        """Return up to `limit` prompts with their indices, in order, from index `first` on. -1 is no limit."""
        rows = self._database.rows(
            f"SELECT position, content FROM experiment_prompt WHERE experiment_id = {_ID} AND position >= ?"  # noqa: S608 (the names of columns)
            " ORDER BY position LIMIT ?",
            number,
            first,
            limit,
        )
        with decoding(f"A prompt of experiment e{number}"):
            return tuple((position, object_in(content)) for position, content in rows)

    def unfinished_prompts(
        self, number: int, first: int, limit: int, engines: Sequence[int], finished: Sequence[str], runs: int
    ) -> tuple[tuple[int, Json | None], ...]:
        """Return up to `limit` prompts with their indices from `first` on; None replaces a prompt for which these
        engines have at least `runs` runs in a `finished` state."""
        states = json.dumps([*finished])
        rows = self._database.rows(_UNFINISHED, json.dumps([*engines]), states, runs, number, first, limit)
        with decoding(f"A prompt of experiment e{number}"):
            return tuple((at, None if content is None else object_in(content)) for at, content in rows)

    def counts(
        self, number: int, prompts: Iterable[int] | None = None
    ) -> tuple[experiment_records.RunCount, ...]:
        """Count the saved runs of these prompts (None: of all prompts), and the results of their assertions."""
        chosen = None if prompts is None else json.dumps(sorted(prompts))
        return tuple(
            experiment_records.RunCount(*row) for row in self._database.rows(_COUNTS, number, chosen, chosen)
        )

    def last_loaded(self, number: int, engine: int) -> experiment_records.ExperimentRun | None:
        """Return the engine's last run whose manifest describes the loaded model; None without such a run."""
        which = "engine_index = ? AND json_type(iif(json_valid(data), data, '{}'), '$.loaded') = 'object'"
        return next(self._runs(which, number, engine, limit=1, order=_LAST_FIRST), None)

    def judges(self, number: int) -> tuple[str, ...]:
        rows = self._database.rows(
            f"SELECT DISTINCT {_FIELD.format('judges')} AS judges FROM cell, {_RESULTS}"  # noqa: S608 (the names of columns)
            f" WHERE experiment_id = {_ID} AND judges != '' ORDER BY judges",
            number,
        )
        return tuple(judges for (judges,) in rows)

    def choice(self, number: int) -> experiment_records.SavedChoice | None:
        sql = f"SELECT asked FROM choice WHERE experiment_id = {_ID}"  # noqa: S608 (the names of columns)
        for (asked,) in self._database.rows(sql, number):
            with contextlib.suppress(*DAMAGED):
                return from_json(experiment_records.SavedChoice, object_in(asked))
        return None

    def save_choice(self, number: int, choice: experiment_records.SavedChoice) -> None:
        self._database.run(
            f"INSERT OR REPLACE INTO choice (experiment_id, asked) VALUES ({_ID}, ?)",  # noqa: S608 (the names of columns)
            number,
            json.dumps(to_json(choice)),
        )

    def assertion_rates(self, number: int) -> tuple[tuple[int, str, float, int], ...]:
        """Return engine index, type, pass rate and number of prompts for each type of assertion. Each prompt has the
        same weight in the rate; assertions without a verdict are left out."""
        rows = self._database.rows(
            f"""
            SELECT engine_index, CAST(type AS BLOB), avg(rate), count(*) FROM (
              SELECT engine_index, prompt_index, type, avg(passed) AS rate FROM (
                SELECT {_KEY}, {_FIELD.format("type")} AS type, {_FIELD.format("passed")} AS passed
                FROM cell, {_RESULTS} WHERE experiment_id = {_ID}
              ) WHERE typeof(type) = 'text' AND passed IN (0, 1) GROUP BY engine_index, prompt_index, type
            ) GROUP BY type, engine_index ORDER BY type, engine_index
            """,  # noqa: S608 (the names of columns)
            number,
        )
        return tuple(
            (engine, kind.decode(errors="replace"), rate, prompts)  # JSON can have halves of surrogate pairs
            for engine, kind, rate, prompts in rows
        )

    def save(
        self,
        number: int,
        key: experiment_records.RunKey,
        result: RunResult,
        assertions: Sequence[Json] = (),
        digests: experiment_records.Digests | None = None,
    ) -> int:
        """Write an ended run in place of one with the same key, and return its number. Writing it again changes
        nothing. With `digests`, `known` finds it for other experiments."""
        with self._database.transaction():
            for cell, run_id in self._database.rows(
                f"SELECT number, run_id FROM cell WHERE experiment_id = {_ID} AND ({_KEY}) = (?, ?, ?)",  # noqa: S608 (the names of columns)
                number,
                *key,
            ):
                if run_id == result.id:
                    return int(cell)
            save_run(self._database, result)
            return self._put(number, key, result.id, assertions, digests)

    def known(
        self,
        number: int,
        wanted: Mapping[experiment_records.RunKey, experiment_records.Digests],
        since: float,
    ) -> list[experiment_records.KnownRun]:
        """Return finished runs of other experiments since a time that can serve as the wanted runs, with their keys."""
        found: dict[str, list[tuple[Row, str, str]]] = {}
        asked = json.dumps(sorted({digests.asked for digests in wanted.values()}))
        for digest, checked, assertions, *columns in self._database.rows(_KNOWN, asked, since, number):
            found.setdefault(digest, []).append((tuple(columns), checked, assertions))
        taken: set[str] = set()
        answers = []
        for key, digests in wanted.items():
            able = [row for row in found.get(digests.asked, ()) if row[0][0] not in taken]
            if not able:
                continue
            row, checked, assertions = max(able, key=lambda row: row[1] == digests.checked)
            taken.add(row[0])
            with contextlib.suppress(*DAMAGED):
                result = None if checked == digests.checked else result_of(row)
                answers.append(
                    experiment_records.KnownRun(key, digests, result, row[0], tuple(list_in(assertions)))
                )
        return answers

    def use_known(self, number: int, runs: Iterable[experiment_records.KnownRun]) -> None:
        """Take over runs of other experiments into this experiment, with the results of their assertions."""
        with self._database.transaction():
            for run in runs:
                self._put(number, run.key, run.run_id, run.assertions, run.digests)

    def _put(
        self,
        number: int,
        key: experiment_records.RunKey,
        run_id: str,
        assertions: Sequence[Json],
        digests: experiment_records.Digests | None,
    ) -> int:
        """Give a saved run this key in the experiment, in place of an earlier run. Must be called in a transaction."""
        self._database.run(
            f"DELETE FROM cell WHERE experiment_id = {_ID} AND ({_KEY}) = (?, ?, ?)",  # noqa: S608 (the names of columns)
            number,
            *key,
        )
        return self._database.run(
            _INSERT, number, *key, json.dumps(assertions), *(digests or (None, None)), run_id
        )

    def save_judgement(
        self, cell: int, run_id: str, assertions: Sequence[Json], judges: Iterable[RunResult] = ()
    ) -> None:
        with self._database.transaction():
            self._database.run(
                "UPDATE cell SET assertions = ? WHERE number = ?", json.dumps(assertions), cell
            )
            for judge in judges:
                save_run(self._database, judge, purpose="judge", about_id=run_id)

    def states(self, number: int, first: int, last: int) -> Mapping[experiment_records.RunKey, str]:
        rows = self._database.rows(
            f"SELECT {_KEY}, state FROM cell JOIN run ON run.id = run_id"  # noqa: S608 (the names of columns)
            f" WHERE experiment_id = {_ID} AND prompt_index BETWEEN ? AND ?",
            number,
            first,
            last,
        )
        return {experiment_records.RunKey(*key): state for *key, state in rows}

    def runs(
        self, number: int, *, after: experiment_records.RunKey | None = None, limit: int = -1
    ) -> Iterator[experiment_records.ExperimentRun]:
        """Yield up to `limit` saved runs with keys greater than `after`, in the order of their keys. -1 is no limit."""
        return self._runs(f"({_KEY}) > (?, ?, ?)", number, *(after or (-1, -1, -1)), limit=limit)

    def runs_of_prompt(self, number: int, prompt_index: int) -> Iterator[experiment_records.ExperimentRun]:
        return self._runs("prompt_index = ?", number, prompt_index)

    def run_at(self, number: int, key: experiment_records.RunKey) -> experiment_records.ExperimentRun | None:
        return next(self._runs(f"({_KEY}) = (?, ?, ?)", number, *key), None)

    def run(self, number: int, run: int) -> experiment_records.ExperimentRun:
        """Return the run with the number `run`. Raises InputError if the run does not exist."""
        for found in self._runs("cell.number = ?", number, run):
            return found
        raise InputError(f"Experiment e{number} has no run e{number}/{run}.")

    def _runs(
        self, which: str, number: int, *values: object, limit: int = -1, order: str = _KEY
    ) -> Iterator[experiment_records.ExperimentRun]:
        """Yield the saved runs of an experiment that fulfil the condition `which`, ordered by their keys or by `order`."""
        sql = f"{_CELL} WHERE experiment_id = {_ID} AND {which} ORDER BY {order} LIMIT ?"
        for cell, prompt, engine, repetition, assertions, *columns in self._database.stream(
            sql, number, *values, limit
        ):
            with decoding(f"The run e{number}/{cell}"):
                run = experiment_records.ExperimentRun(
                    key=experiment_records.RunKey(prompt, engine, repetition),
                    number=cell,
                    result=result_of(tuple(columns)),
                    assertions=tuple(list_in(assertions)),
                )
            yield run


def _listed(row: Row) -> experiment_records.Experiment:
    *plain, _engines, _machine, done, failed = row
    with contextlib.suppress(StoreError):
        return _experiment(row)
    return _experiment((*plain, "[]", "{}", done, failed))


def _experiment(row: Row) -> experiment_records.Experiment:
    *columns, engines, machine, done, failed = row
    with decoding(f"Experiment e{columns[0]}"):
        return experiment_records.Experiment(
            **dict(zip(_PLAIN, columns, strict=True)),
            engines=tuple(from_json(EngineDefinition, engine) for engine in list_in(engines)),
            machine=object_in(machine),
            done=done,
            failed=failed,
        )
