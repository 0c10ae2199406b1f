"""Experiments and their runs in the file."""

import contextlib
import functools
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal, NamedTuple

from paragone import InputError, Json
from paragone.wire import from_json, to_json
from paragone_workbench.engines.definitions import EngineDefinition, without_literal_keys
from paragone_workbench.ids import new_id
from paragone_workbench.runs.metrics import figures_json
from paragone_workbench.runs.result import RunResult
from paragone_workbench.store.database import Database, Row, clean, list_in, object_in
from paragone_workbench.store.errors import DAMAGED, StoreError, decoding
from paragone_workbench.store.runs import COLUMNS, MANIFEST, result_of, save_run
from paragone_workbench.text import visible


@dataclass(frozen=True, slots=True, kw_only=True)
class Experiment:
    name: str
    fingerprint: str
    """A digest of the prompts, engines and settings. The same command gives the same digest."""
    schedule: str
    repetitions: int
    engines: tuple[EngineDefinition, ...]
    """The definitions of the engines, without secret options."""
    machine: Mapping[str, Json]
    prompts: int
    created: float
    """When the experiment began, in seconds since 1970."""
    id: str = field(default_factory=new_id)
    """A UUID of version 7."""
    number: int = 0
    """The 3 in the id `e3`, which users type; 0 before the experiment is saved."""
    done: int = 0
    """Number of saved runs that finished, without a failure or a stop."""
    failed: int = 0
    """Number of saved runs that have failed."""

    @property
    def runs(self) -> int:
        return self.prompts * len(self.engines) * self.repetitions

    @property
    def left(self) -> int:
        """Number of runs that have neither finished nor failed."""
        return self.runs - self.done - self.failed


class RunKey(NamedTuple):
    """The indices, from 0, that identify a run within an experiment."""

    prompt_index: int
    engine_index: int
    repetition: int


class Digests(NamedTuple):
    """The digests by which a run of an earlier experiment is found. `asked` covers the engine, its file, the messages
    and the seed; `checked` covers the assertions, the expected answer and the judges."""

    asked: str
    checked: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionResult:
    """The result of one assertion of a prompt for an answer.

    Attributes:
        index: The index of the assertion in `SuitePrompt.assertions`.
        type: The name of the assertion. The name of a negated assertion begins with `not `.
        passed: Whether the assertion passed; None if the assertion gave no verdict.
        reason: The reason for the verdict, or for the missing verdict.
        score: How well the assertion holds, from 0 to 1; None if the assertion has no scores. For a negated
        assertion, how well the negation holds.
        judges: An identification of the judges by definition, version and weights; empty if no judge was asked.
    """

    index: int
    type: str
    passed: bool | None
    reason: str
    score: float | None = None
    judges: str = ""

    @property
    def verdict(self) -> Literal["passed", "failed", "unknown"]:
        return "unknown" if self.passed is None else "passed" if self.passed else "failed"


def passed_all(checks: Sequence[AssertionResult]) -> bool | None:
    """Return whether an answer passed all its assertions; None without assertions, or if one gave no verdict."""
    if not checks or any(check.passed is None for check in checks):
        return None
    return all(check.passed for check in checks)


@dataclass(frozen=True, kw_only=True)  # no slots: `checks` is cached in `__dict__`
class ExperimentRun:
    key: RunKey
    number: int
    """The 17 in `e3/17`, which users type; unique among the runs of all experiments."""
    result: RunResult
    assertions: tuple[Json, ...] = ()

    @functools.cached_property
    def checks(self) -> tuple[AssertionResult, ...]:
        """The results of the assertions. Raises StoreError if the saved results are damaged."""
        with decoding(f"The result of the assertions of run {self.number}"):
            return tuple(from_json(AssertionResult, saved) for saved in self.assertions)

    @property
    def passed(self) -> bool | None:
        """Whether all assertions passed; None without assertions, or if an assertion gave no verdict."""
        return passed_all(self.checks)

    @property
    def is_undecided(self) -> bool:
        return any(check.passed is None for check in self.checks)

    @property
    def scores(self) -> dict[str, float]:
        """The scores of the assertions by type. The second assertion of a type has the suffix `-2`, and so on."""
        scores: dict[str, float] = {}
        count: Counter[str] = Counter()
        for check in self.checks:
            count[check.type] += 1
            name = check.type if count[check.type] == 1 else f"{check.type}-{count[check.type]}"
            if check.score is not None:
                scores[name] = check.score
        return scores

    def reasons(self, *, passed: bool | None) -> list[str]:
        """Return the type and the reason of each assertion with the result `passed`; None means no verdict."""
        return [f"{check.type}: {check.reason}" for check in self.checks if check.passed is passed]

    @property
    def is_clean(self) -> bool:
        return self.result.state == "done" and all(check.passed is True for check in self.checks)

    @property
    def duration_s(self) -> float:
        """Seconds from passing the run to the engine until the end of the run."""
        return max(0.0, (self.result.ended or 0.0) - self.result.started)

    def to_json(self) -> dict[str, Json]:
        result = self.result
        return {
            "prompt_index": self.key.prompt_index,
            "engine": result.definition.name,
            "repetition": self.key.repetition,
            "text": result.text,
            "error": result.message if result.error else None,
            "assertions": [
                {
                    "type": check.type,
                    "passed": check.passed,
                    "reason": check.reason,
                    "score": check.score,
                    "judges": check.judges or None,
                }
                for check in self.checks
            ],
            **figures_json(result.metrics),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class EstimatedMemory:
    """The bytes that an engine needs on all devices together, with a context window of `context` tokens."""

    engine: str
    size: int
    context: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedChoice:
    """The parameters of a `paragone choose`. The decision itself is computed from the runs of the experiment.

    Attributes:
        reference: The name of the engine whose quality the chosen engine should reach.
        margin: The largest acceptable loss of the pass rate, from 0 to 1.
        memory: The memory of each engine whose memory is known.
        left_out: Messages with the reasons why other engines were skipped.
        unfit: The names of compared engines that cannot be chosen, because they do not fit in memory.
        checked: Number of prompts whose answers are checked; 0 if unknown.
        report: The SHA-256 of the report that the command wrote; empty without a report.
        suite: The name of the user's suite, over which the fidelity is measured; empty for the built-in prompts.
    """

    reference: str
    margin: float
    memory: tuple[EstimatedMemory, ...] = ()
    left_out: tuple[str, ...] = ()
    unfit: tuple[str, ...] = ()
    checked: int = 0
    report: str = ""
    suite: str = ""


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

# The newest run comes first. Runs that the experiment already uses, for other cells, are skipped.
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
_COUNTS = f"""
    SELECT engine_index, count(*), sum(failed), sum(results AND known = results AND least = 1),
      sum(results AND known = results AND least = 0), sum(known < results)
    FROM (
      SELECT engine_index, state = 'failed' AS failed, count(result.key) AS results, count(passed) AS known, min(passed) AS least
      FROM (
        SELECT cell.number, engine_index, state, result.key, {_FIELD.format("passed")} AS passed
        FROM cell JOIN run ON run.id = run_id LEFT JOIN {_RESULTS}
        WHERE experiment_id = {_ID} AND (? IS NULL OR prompt_index IN (SELECT value FROM json_each(?)))
          AND state IN (SELECT value FROM json_each(?))
      ) AS result GROUP BY number
    ) GROUP BY engine_index
"""  # noqa: S608 (the names of columns)


class Experiments:
    """The experiments of the history. All methods block, and may raise StoreError."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(
        self,
        experiment: Experiment,
        prompts: Iterable[tuple[int, Json]],
        *,
        fresh: bool = True,
    ) -> int:
        """Add an experiment with its prompts and their indices, claim it, and return its number. Unless `fresh`, an
        experiment with the same fingerprint, which another instance may just have added, is returned instead, unclaimed."""
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

    def find(self, fingerprint: str) -> Experiment | None:
        rows = self._database.rows(
            f"{_EXPERIMENT} WHERE fingerprint = ? ORDER BY number DESC LIMIT 1", fingerprint
        )
        return _experiment(rows[0]) if rows else None

    def get(self, number: int) -> Experiment:
        rows = self._database.rows(f"{_EXPERIMENT} WHERE number = ?", number)
        if not rows:
            raise InputError(f"There is no experiment e{number}.", hint=self.newest())
        return _experiment(rows[0])

    def all(self) -> tuple[Experiment, ...]:
        """Return all experiments, newest first; an experiment whose record is damaged has no engines."""
        return tuple(map(_listed, self._database.rows(f"{_EXPERIMENT} ORDER BY number DESC")))

    def newest(self, others: Sequence[str] = ()) -> str:
        """Return a hint with the ids of the newest experiments, followed by `others`."""
        rows = self._database.rows(
            "SELECT number, name FROM experiment ORDER BY number DESC LIMIT ?", _SUGGESTED
        )
        found = [*(f"e{number} ({name})" for number, name in rows), *others]
        return (
            f"The newest are: {visible(', '.join(found))}."
            if found
            else "The history has no experiments yet; `paragone suite run FILE --engines ENGINE…` begins one."
        )

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
        """Return up to `limit` prompts with their indices, from index `first` on. None replaces a prompt for which
        these engines have at least `runs` runs in a `finished` state."""
        states = json.dumps([*finished])
        rows = self._database.rows(_UNFINISHED, json.dumps([*engines]), states, runs, number, first, limit)
        with decoding(f"A prompt of experiment e{number}"):
            return tuple((at, None if content is None else object_in(content)) for at, content in rows)

    def counts(
        self,
        number: int,
        prompts: Iterable[int] | None = None,
        *,
        finished: Sequence[str] = ("done", "failed"),
    ) -> dict[int, tuple[int, ...]]:
        """Count, by the index of the engine, the saved runs of these prompts (None: of all) in a `finished` state, the
        failed ones, and the answers that passed all their assertions, that failed one, and that lack a verdict."""
        chosen = None if prompts is None else json.dumps(sorted(prompts))
        rows = self._database.rows(_COUNTS, number, chosen, chosen, json.dumps([*finished]))
        return {index: tuple(counts) for index, *counts in rows}

    def last_loaded(self, number: int, engine: int) -> ExperimentRun | None:
        """Return the engine's last run that did not fail and whose manifest describes the loaded model; None if there
        is no such run."""
        which = "engine_index = ? AND state = 'done' AND json_type(iif(json_valid(data), data, '{}'), '$.loaded') = 'object'"
        return next(self._runs(which, number, engine, limit=1, order=_LAST_FIRST), None)

    def judges(self, number: int) -> tuple[str, ...]:
        rows = self._database.rows(
            f"SELECT DISTINCT {_FIELD.format('judges')} AS judges FROM cell, {_RESULTS}"  # noqa: S608 (the names of columns)
            f" WHERE experiment_id = {_ID} AND judges != '' ORDER BY judges",
            number,
        )
        return tuple(judges for (judges,) in rows)

    def choice(self, number: int) -> SavedChoice | None:
        sql = f"SELECT asked FROM choice WHERE experiment_id = {_ID}"  # noqa: S608 (the names of columns)
        for (asked,) in self._database.rows(sql, number):
            with contextlib.suppress(*DAMAGED):
                return from_json(SavedChoice, object_in(asked))
        return None

    def save_choice(self, number: int, choice: SavedChoice) -> None:
        self._database.run(
            f"INSERT OR REPLACE INTO choice (experiment_id, asked) VALUES ({_ID}, ?)",  # noqa: S608 (the names of columns)
            number,
            json.dumps(to_json(choice)),
        )

    def assertion_rates(self, number: int) -> tuple[tuple[int, str, float, int], ...]:
        """Return engine index, type, pass rate and number of prompts for each type of assertion. Each prompt has the
        same weight in the rate; assertions without a verdict do not count."""
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
        key: RunKey,
        result: RunResult,
        assertions: Sequence[Json] = (),
        digests: Digests | None = None,
    ) -> int:
        """Write a run that has ended, in place of a run with the same key, and return its number. Writing it again
        changes nothing. With `digests`, `known` finds the run for other experiments."""
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
        wanted: Mapping[RunKey, Digests],
        since: float,
    ) -> dict[RunKey, tuple[str, Sequence[Json], RunResult | None]]:
        """Return finished runs of other experiments since a time that can replace the wanted runs: their ids and the
        results of their assertions. If the assertions differ and must be checked again, the runs' own results are
        returned too."""
        found: dict[str, list[tuple[Row, str, str]]] = {}
        asked = json.dumps(sorted({digests.asked for digests in wanted.values()}))
        for digest, checked, assertions, *columns in self._database.rows(_KNOWN, asked, since, number):
            found.setdefault(digest, []).append((tuple(columns), checked, assertions))
        taken: set[str] = set()
        answers: dict[RunKey, tuple[str, Sequence[Json], RunResult | None]] = {}
        for key, digests in wanted.items():
            able = [row for row in found.get(digests.asked, ()) if row[0][0] not in taken]
            if not able:
                continue
            row, checked, assertions = max(able, key=lambda row: row[1] == digests.checked)
            taken.add(row[0])
            with contextlib.suppress(*DAMAGED):
                result = None if checked == digests.checked else result_of(row)
                answers[key] = str(row[0]), list_in(assertions), result
        return answers

    def use_known(
        self,
        number: int,
        runs: Mapping[RunKey, tuple[str, Sequence[Json]]],
        digests: Mapping[RunKey, Digests],
    ) -> None:
        """Use runs of other experiments in this experiment, given by their ids and the results of their assertions."""
        with self._database.transaction():
            for key, (run_id, assertions) in runs.items():
                self._put(number, key, run_id, assertions, digests[key])

    def _put(
        self,
        number: int,
        key: RunKey,
        run_id: str,
        assertions: Sequence[Json],
        digests: Digests | None,
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

    def states(self, number: int, first: int, last: int) -> Mapping[RunKey, str]:
        rows = self._database.rows(
            f"SELECT {_KEY}, state FROM cell JOIN run ON run.id = run_id"  # noqa: S608 (the names of columns)
            f" WHERE experiment_id = {_ID} AND prompt_index BETWEEN ? AND ?",
            number,
            first,
            last,
        )
        return {RunKey(*key): state for *key, state in rows}

    def runs(self, number: int, *, after: RunKey | None = None, limit: int = -1) -> Iterator[ExperimentRun]:
        """Yield up to `limit` saved runs with keys greater than `after`, in the order of their keys. -1 is no limit."""
        return self._runs(f"({_KEY}) > (?, ?, ?)", number, *(after or (-1, -1, -1)), limit=limit)

    def runs_of_prompt(self, number: int, prompt_index: int) -> Iterator[ExperimentRun]:
        return self._runs("prompt_index = ?", number, prompt_index)

    def run_at(self, number: int, key: RunKey) -> ExperimentRun | None:
        return next(self._runs(f"({_KEY}) = (?, ?, ?)", number, *key), None)

    def run(self, number: int, run: int) -> ExperimentRun:
        """Return the run with the number `run`. Raises InputError if the run does not exist."""
        for found in self._runs("cell.number = ?", number, run):
            return found
        raise InputError(f"Experiment e{number} has no run e{number}/{run}.")

    def _runs(
        self, which: str, number: int, *values: object, limit: int = -1, order: str = _KEY
    ) -> Iterator[ExperimentRun]:
        """Yield the saved runs of an experiment that fulfil the condition `which`, ordered by their keys or by `order`."""
        sql = f"{_CELL} WHERE experiment_id = {_ID} AND {which} ORDER BY {order} LIMIT ?"
        for cell, prompt, engine, repetition, assertions, *columns in self._database.stream(
            sql, number, *values, limit
        ):
            with decoding(f"The run e{number}/{cell}"):
                run = ExperimentRun(
                    key=RunKey(prompt, engine, repetition),
                    number=cell,
                    result=result_of(tuple(columns)),
                    assertions=tuple(list_in(assertions)),
                )
            yield run


def _listed(row: Row) -> Experiment:
    *plain, _engines, _machine, done, failed = row
    with contextlib.suppress(StoreError):
        return _experiment(row)
    return _experiment((*plain, "[]", "{}", done, failed))


def _experiment(row: Row) -> Experiment:
    *columns, engines, machine, done, failed = row
    with decoding(f"Experiment e{columns[0]}"):
        return Experiment(
            **dict(zip(_PLAIN, columns, strict=True)),
            engines=tuple(from_json(EngineDefinition, engine) for engine in list_in(engines)),
            machine=object_in(machine),
            done=done,
            failed=failed,
        )
