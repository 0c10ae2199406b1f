"""Experiments of results that other programs have computed: samples of lm-evaluation-harness, logs of Inspect and results
of promptfoo. Their engines cannot be opened; whatever compares saved runs works on them."""

from __future__ import annotations

import hashlib
import json
import re
import time
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import TypeAlias

from paragone import InputError, Json, Message
from paragone.json_values import count_at, list_at, number_at, object_at, text_at, texts_at, value_at
from paragone.texts import quoted
from paragone.wire import to_json
from paragone_workbench.engines.definitions import IMPORTED, EngineDefinition
from paragone_workbench.experiments.suite import PAGE, SuitePrompt
from paragone_workbench.experiments.suite_file import parse_json
from paragone_workbench.files.other_programs import openai_chats
from paragone_workbench.files.suite_import import SuiteImport, items_in, question, shown
from paragone_workbench.ids import derived_id
from paragone_workbench.runs.result import RunResult
from paragone_workbench.store import Experiment, RunKey, Store
from paragone_workbench.store.experiments import AssertionResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A result of a model for a sample of a task."""

    program: str
    task: str
    model: str
    sample: tuple[str, ...]
    """What identifies the sample in the files of all models."""
    messages: Sequence[Message]
    answer: str
    scores: Mapping[str, float]
    """The scores by their metrics, from 0 to 1; empty if the run failed."""
    expected: str | None = None
    reason: str = ""
    """Why the answer got its score, if the program has a reason."""
    repetition: int | None = None
    """The repetition, from 0; None if the order in the file decides."""
    error: str = ""
    is_cut: bool = False


ResultReader: TypeAlias = "Callable[[Path, Json], Iterator[Callable[[], Result]]]"
"""Yields a function for each result in an item, which returns the result or raises InputError; none if the item has another
form."""


def _scores(values: Mapping[str, Json]) -> dict[str, float]:
    """Return the scores from 0 to 1. Raises InputError if there are none."""
    numbers = {name: float(it) if isinstance(it, bool) else number_at(it) for name, it in values.items()}
    found = {name: it for name, it in numbers.items() if it is not None and 0 <= it <= 1}
    if not found:
        raise InputError(f"There is no score from 0 to 1 (metrics: {', '.join(values) or 'none'}).")
    return found


def _messages(given: Json) -> Sequence[Message]:
    """Return the messages of a prompt: a text, or messages, which may be JSON in a text. Raises InputError."""
    if isinstance(given, str) and given.lstrip().startswith("[{"):
        given = parse_json(given)
    if isinstance(given, str) and given:
        return [Message(role="user", text=given)]
    for chat in openai_chats(given):
        return shown(chat)
    raise InputError("There is no prompt.")


# lm-evaluation-harness

_SAMPLES = re.compile(r"samples_(?P<task>.+?)(_\d{4}-\d{2}-\d{2}T[\d.-]+)?")
_LM_EVAL = {
    "doc_id", "doc", "target", "arguments", "resps", "filtered_resps", "filter", "metrics", "doc_hash", "prompt_hash",
    "target_hash",
}  # fmt: skip
"""The fields of a sample that are not metrics."""


def _lm_eval(path: Path, item: Json) -> Iterator[Callable[[], Result]]:
    if {"doc_id", "arguments", "filtered_resps"} <= object_at(item).keys():
        yield partial(_lm_eval_sample, path, item)


def _lm_eval_sample(path: Path, item: Json) -> Result:
    """Return the result in a line of `--log_samples`. The folder is named after the model, the file after the task."""
    listed = [*object_at(item, "arguments").values()] or list_at(item, "arguments")
    arguments = [[*object_at(it).values()] or [*list_at(it)] for it in listed]
    context = arguments[0][0] if arguments and arguments[0] else None
    if isinstance(context, list):  # a chat is a list with one text in JSON
        context = next(iter(context), None)
    choices = [it[1] for it in arguments if len(it) > 1 and isinstance(it[1], str)]
    answers = [_first(it) for it in list_at(item, "resps")]
    target = str(value_at(item, "target"))
    if choices and len(choices) == len(answers):
        likelihoods = [_number(_first(it)) for it in answers]
        answer = choices[likelihoods.index(max(likelihoods))].strip()
        if target.isdigit() and int(target) < len(choices) > 1:
            target = choices[int(target)].strip()
        filtered = answer
    else:
        answer = str(next(iter(answers), ""))
        filtered = str(_first(value_at(item, "filtered_resps")))
    names = texts_at(item, "metrics") or [name for name in object_at(item) if name not in _LM_EVAL]
    by = "" if (used := text_at(item, "filter")) in ("", "none") else f",{used}"
    match = _SAMPLES.fullmatch(path.stem)
    return Result(
        program="lm-eval",
        task=match["task"] if match else path.stem,
        model=path.absolute().parent.name.rpartition("__")[2],  # `ORGANISATION__MODEL`
        sample=(str(value_at(item, "doc_id")), text_at(item, "doc_hash")),
        messages=_messages(context),
        answer=answer,
        scores=_scores({f"{name}{by}": value_at(item, name) for name in names}),
        expected=target,
        reason="" if filtered == answer else f"The filtered answer is {quoted(filtered)}.",
        repetition=0,
    )


def _first(value: Json) -> Json:
    return next(iter(list_at(value)), "")


def _number(value: Json) -> float:
    try:
        return float(value) if isinstance(value, str | int | float) else float("-inf")
    except ValueError as error:
        raise InputError(f"The log-likelihood {quoted(str(value))} is not a number.") from error


# Inspect

_LETTERS: Mapping[Json, float] = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}
"""Inspect's values for correct, partially correct, incorrect and not answered."""


def _inspect(path: Path, item: Json) -> Iterator[Callable[[], Result]]:
    if text_at(item, "eval", "model"):
        for sample in list_at(item, "samples"):
            yield partial(_inspect_sample, object_at(item, "eval"), sample)


def _inspect_sample(log: Json, item: Json) -> Result:
    messages = question(item)
    if not messages:
        raise InputError("There is no prompt.")
    scores = object_at(item, "scores")
    values = {name: value_at(score, "value") for name, score in scores.items()}
    error = text_at(item, "error", "message")
    target = value_at(item, "target")
    reasons = (text_at(score, "explanation") for score in scores.values())
    return Result(
        program="inspect",
        task=text_at(log, "task"),
        model=text_at(log, "model"),
        sample=(str(value_at(item, "id")), *(it.text for it in messages)),
        messages=messages,
        answer=text_at(item, "output", "completion"),
        scores={}
        if error
        else _scores(
            {name: _LETTERS.get(it, it) if isinstance(it, str) else it for name, it in values.items()}
        ),
        expected=" or ".join(map(str, target)) if isinstance(target, list) else str(target),
        reason=next(filter(None, reasons), ""),
        repetition=max((count_at(item, "epoch") or 1) - 1, 0),
        error=error,
        is_cut=text_at(_first(value_at(item, "output", "choices")), "stop_reason") == "max_tokens",
    )


# promptfoo

_ERROR = 2
"""promptfoo's `failureReason` if there is no answer."""


def _promptfoo(path: Path, item: Json) -> Iterator[Callable[[], Result]]:
    for result in list_at(item, "results", "results") or list_at(item, "results"):
        if {"success", "provider", "prompt"} <= object_at(result).keys():
            yield partial(_promptfoo_result, text_at(item, "config", "description") or "promptfoo", result)


def _promptfoo_result(task: str, item: Json) -> Result:
    provider, output = value_at(item, "provider"), value_at(item, "response", "output")
    failed = value_at(item, "failureReason") == _ERROR
    scores = {"success": value_at(item, "success"), **object_at(item, "namedScores")}
    return Result(
        program="promptfoo",
        task=task,
        model=text_at(provider, "label") or text_at(provider, "id") or text_at(provider),
        sample=(text_at(item, "prompt", "raw"), json.dumps(value_at(item, "vars"), sort_keys=True)),
        messages=_messages(text_at(item, "prompt", "raw")),
        answer=output if isinstance(output, str) else "" if output is None else json.dumps(output),
        scores={} if failed else _scores(scores),
        reason=text_at(item, "gradingResult", "reason"),
        error=(text_at(item, "error") or "There is no answer.") if failed else "",
    )


# Results without answers


def _speeds(path: Path, item: Json) -> Iterator[Callable[[], Result]]:
    if {"build_commit", "avg_ts"} <= object_at(item).keys():
        raise InputError(
            f"{path} has speeds of llama-bench, and no answers to compare.",
            hint="`paragone bench` measures speeds, and compares engines in alternating runs.",
        )
    yield from ()


_READERS: tuple[ResultReader, ...] = (_lm_eval, _inspect, _promptfoo, _speeds)
"""The known forms. The first reader that finds a result in an item reads this item."""


def has_results(path: Path) -> bool:
    """Return whether the first readable item of a file has results. Raises InputError if the file cannot be read."""
    for _, item in items_in(path, SuiteImport(lambda message: None)):
        return any(True for reader in _READERS for _ in reader(path, item))
    return False


def _results_in(paths: Iterable[Path], importing: SuiteImport) -> Iterator[tuple[str, Path, Result]]:
    """Yield the results in files, each with its place such as `samples_gsm8k.jsonl:3`. Raises InputError."""
    for path in paths:
        for place, item in items_in(path, importing):
            found = [*chain.from_iterable(reader(path, item) for reader in _READERS)]
            for number, read in enumerate(found, start=1):
                where = place if len(found) == 1 else f"{place}, result {number}"
                try:
                    yield where, path, read()
                except InputError as error:
                    importing.refuse(f"{where}: {error}")
            if not found:
                importing.refuse(f"{place}: This has no known form of results.")


# Experiments


@dataclass(frozen=True, slots=True)
class _Cell:
    """A result that counts, with the number of its sample."""

    result: Result
    path: Path
    number: int
    repetition: int
    metric: str

    @property
    def run_id(self) -> str:
        """An id that depends on the whole result: a repeated import changes nothing."""
        result = self.result
        whole = (result.task, result.sample, result.model, self.repetition, result.answer, result.error)
        return derived_id("result", json.dumps([*whole, dict(result.scores)]))

    def run(self, engine: EngineDefinition) -> RunResult:
        result = self.result
        return RunResult(
            id=self.run_id,
            definition=engine,
            started=self.path.stat().st_mtime,
            state="failed" if result.error else "done",
            finish=None if result.error else "length" if result.is_cut else "stop",
            error=result.error,
            text=result.answer,
        )

    def check(self, *, is_graded: bool) -> AssertionResult:
        score = self.result.scores[self.metric]
        reason = self.result.reason or f"The score is {score:g}."
        graded = score if is_graded else None
        return AssertionResult(index=0, type=self.metric, passed=score == 1, reason=reason, score=graded)

    def prompt(self, index: int, tags: tuple[str, ...]) -> SuitePrompt:
        messages, expected = tuple(self.result.messages), self.result.expected
        return SuitePrompt(index=index, line=0, messages=messages, expected=expected, tags=tags)


@dataclass(slots=True)
class ResultImport:
    """The samples and models that the first reading of the files finds. A sample takes about 200 bytes."""

    paths: Sequence[Path]
    importing: SuiteImport
    """Gets the messages of the first reading."""
    metric: str | None
    """The metric that decides whether a result passes; None for the first one of each task."""
    progress: Callable[[int], object]
    """Called with the number of results so far, in each of the three readings."""
    _numbers: dict[bytes, int] = field(default_factory=dict)
    """The number of each sample, in the order of the files, by its digest."""
    _counts: dict[str, bytearray] = field(default_factory=dict)
    """For each model, its number of results for each sample."""
    _programs: dict[str, str] = field(default_factory=dict)
    _metrics: dict[str, str] = field(default_factory=dict)
    """The metric of each task."""
    _graded: set[str] = field(default_factory=set)
    """The metrics with scores between 0 and 1."""

    def save(self, store: Store) -> tuple[int, Counter[str]]:
        """Save the results as an experiment. Return its number, and how many "answers", "errors" and results "known" before
        it has. Raises InputError, also if no sample has a result of every model, and StoreError."""
        digest = hashlib.sha256()
        for cell in self._cells(self.importing):
            digest.update(f"{cell.metric} {cell.run_id}\n".encode())
            if 0 < cell.result.scores.get(cell.metric, 0.0) < 1:
                self._graded.add(cell.metric)
        if not self._counts:
            raise InputError(
                f"There is no result by {self.metric or 'any metric'}.",
                hint=f"Found: {', '.join(self.importing.skipped) or 'nothing'}.",
            )
        places = self._places()
        tasks = [*self._metrics] or ["results"]
        new = Experiment(
            name=tasks[0] if len(tasks) == 1 else f"{tasks[0]} and {len(tasks) - 1} more",
            fingerprint=digest.hexdigest(),
            schedule="imported",
            repetitions=max(map(max, self._counts.values())),
            engines=tuple(
                EngineDefinition(name=model, backend=IMPORTED, model=f"{self._programs[model]}:{model}")
                for model in self._counts
            ),
            machine={},
            prompts=sum(it >= 0 for it in places),
            created=time.time(),
        )
        known = store.experiments.find(new.fingerprint)
        if known is not None and not known.left:
            return known.number, Counter(known=known.runs)
        number = store.experiments.create(new, self._prompts(places, tasks), fresh=False)
        store.experiments.claim(number)
        return number, self._save_runs(store, number, new.engines, places)

    def _places(self) -> array[int]:
        """Return, by its number, the index that each sample has among those that every model has; -1 for the others."""
        places, kept = array("q"), 0
        for number in range(len(self._numbers)):
            is_common = all(number < len(own) and own[number] for own in self._counts.values())
            places.append(kept if is_common else -1)
            kept += is_common
        if not kept:
            raise InputError(
                f"No sample has a result of each model: {', '.join(self._counts)}.",
                hint="Import results of different tasks one after the other.",
            )
        if others := len(places) - kept:
            self.importing.skipped["samples without a result of each model"] += others
        return places

    def _prompts(self, places: Sequence[int], tasks: Sequence[str]) -> Iterator[tuple[int, Json]]:
        index = 0
        for cell in self._cells(_silent()):
            if places[cell.number] == index:
                tags = (cell.result.task,) if len(tasks) > 1 else ()
                yield index, to_json(cell.prompt(index, tags))
                index += 1

    def _save_runs(
        self, store: Store, number: int, engines: Sequence[EngineDefinition], places: Sequence[int]
    ) -> Counter[str]:
        counts: Counter[str] = Counter()
        indices = {engine.name: index for index, engine in enumerate(engines)}
        cells = (cell for cell in self._cells(_silent()) if places[cell.number] >= 0)
        while page := [*islice(cells, PAGE)]:
            with store.transaction():
                for cell in page:
                    index = indices[cell.result.model]
                    run = cell.run(engines[index])
                    checks = [] if run.error else [to_json(cell.check(is_graded=cell.metric in self._graded))]
                    store.experiments.save(
                        number, RunKey(places[cell.number], index, cell.repetition), run, checks
                    )
                    counts["errors" if run.error else "answers"] += 1
        return counts

    def _cells(self, importing: SuiteImport) -> Iterator[_Cell]:
        """Read the files, and yield the results that count. Results by other metrics are skipped, and a further result of
        a model for a sample is refused."""
        counts: dict[str, bytearray] = {}
        for done, (place, path, result) in enumerate(_results_in(self.paths, importing), start=1):
            self.progress(done)
            metric = self.metric or self._metrics.get(result.task) or next(iter(result.scores), "")
            if result.scores and metric not in result.scores:
                importing.skipped[f"results by {', '.join(result.scores)}"] += 1
                continue
            if metric:
                self._metrics.setdefault(result.task, metric)
            sample = hashlib.sha256(json.dumps([result.task, *result.sample]).encode()).digest()[:16]
            number = self._numbers.setdefault(sample, len(self._numbers))
            own = counts.setdefault(result.model, bytearray())
            own.extend(bytes(max(number + 1 - len(own), 0)))
            repetition = own[number] if result.repetition is None else result.repetition
            if not own[number] <= repetition < _MOST:
                importing.refuse(f"{place}: {result.model} has a result for this sample already.")
                continue
            own[number] = repetition + 1
            self._programs.setdefault(result.model, result.program)
            yield _Cell(result, path, number, repetition, metric)
        self._counts = counts


_MOST = 255
"""Largest number of repetitions."""


def _silent() -> SuiteImport:
    return SuiteImport(lambda message: None)
