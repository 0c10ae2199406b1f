"""The results of an experiment: its runs, the totals of its engines, known runs, and JUnit XML."""

from __future__ import annotations

import re
import statistics
from array import array
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias
from xml.sax.saxutils import escape, quoteattr

from paragone import InputError, Json
from paragone.assertions import Answer
from paragone.files import open_regular_file
from paragone.json_values import count_at
from paragone.texts import counted, shortened
from paragone.wire import to_json
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments import suite
from paragone_workbench.experiments.assertions import AssertionCatalog, evaluate
from paragone_workbench.experiments.identity import engine_identity, identity_digest
from paragone_workbench.paths import accessible, replacing
from paragone_workbench.runs.result import RunResult
from paragone_workbench.store import Experiment, ExperimentRun, History, RunKey, Store
from paragone_workbench.store.experiments import Digests

PAGE = 100
"""Number of runs in memory at a time."""


async def saved_runs(
    history: History, experiment: Experiment, chosen: frozenset[int] | None = None
) -> AsyncGenerator[ExperimentRun, None]:
    """Yield the finished runs, of the chosen prompts, in the order prompt, engine, repetition. Raises StoreError."""
    last: RunKey | None = None

    def read(store: Store) -> list[ExperimentRun]:
        return list(store.experiments.runs(experiment.number, after=last, limit=PAGE))

    while page := await history.call(read):
        for run in page:
            if chosen is None or run.key.prompt_index in chosen:
                yield run
        last = page[-1].key


def answer_of(result: RunResult) -> Answer:
    """Return the answer in the form that assertions check, without the prompt."""
    metrics, total_s = result.metrics, None
    is_choice = bool(result.request.get("choices")) and bool(result.tokens)
    if result.waited_s is not None and result.ended is not None:
        total_s = max(0.0, result.ended - result.started - result.waited_s)
    return Answer(
        text=result.text,
        thinking=result.thinking,
        choices={it.text: it.logprob for it in result.tokens[-1].top} if is_choice else {},
        finish_reason=result.finish,
        completion_tokens=metrics.completion_tokens if metrics is not None else None,
        ttft_s=metrics.ttft_s if metrics is not None else None,
        total_s=total_s,
        decode_tps=metrics.decode_tps if metrics is not None else None,
    )


_AT_ONCE = 200
"""Number of runs that one query of the history looks up."""


def cell_digests(request: suite.SuiteRequest, registry: Registry) -> Callable[[suite.Cell], Digests]:
    """Return the digests of a request's runs, by which other experiments find these runs. This reads the sizes and
    times of change of the models' files."""
    found = [(engine, registry.find(engine.backend)) for engine in request.engines]
    engines = [(*one, identity_digest(engine_identity(*one))) for one in found]
    judges: list[Json] = [
        engine_identity(judge, registry.find(judge.backend)) for judge in request.judges.values()
    ]

    def of(cell: suite.Cell) -> Digests:
        key, prompt = cell
        engine, backend, identity = engines[key.engine_index]
        seed = suite.seed_option(cell, engine, backend)
        messages: list[Json] = [to_json(message) for message in prompt.messages]
        assertions: list[Json] = [to_json(spec) for spec in prompt.assertions]
        return Digests(
            asked=identity_digest(
                [identity, messages, dict(seed), *([list(prompt.choices)] if prompt.choices else [])]
            ),
            checked=identity_digest([assertions, prompt.expected, judges]),
        )

    return of


async def take_known_runs(
    history: History,
    experiment: Experiment,
    request: suite.SuiteRequest,
    registry: Registry,
    catalog: AssertionCatalog,
) -> int:
    """Copy the results of the same runs in other experiments to the unfinished runs of an experiment. Returns their number.
    An experiment that was begun with `fresh`, or that already has runs, takes only newer results. Raises StoreError."""
    begun = request.fresh or experiment.done or experiment.failed
    since = experiment.created if begun else 0.0
    digests_of, number = cell_digests(request, registry), experiment.number
    taken = 0
    cells: dict[RunKey, suite.SuitePrompt] = {}

    async def take() -> int:
        wanted = {key: digests_of((key, prompt)) for key, prompt in cells.items()}
        found = await history.call(lambda store: store.experiments.known(number, wanted, since))
        runs: dict[RunKey, tuple[str, Sequence[Json]]] = {}
        for key, (run_id, assertions, result) in found.items():
            if result is not None:
                results = await evaluate(cells[key], answer_of(result), catalog)
                assertions = [to_json(one) for one in results]
            runs[key] = run_id, assertions
        if runs:
            await history.call(lambda store: store.experiments.use_known(number, runs, wanted))
        cells.clear()
        return len(runs)

    every = range(len(request.engines))
    async for key, prompt in suite.unfinished_cells(history, experiment, request, every):
        cells[key] = prompt
        if len(cells) == _AT_ONCE:
            taken += await take()
    return taken + await take()


def known_text(taken: int, total: int) -> str:
    return f"{taken:,} of {total:,} answers are known from earlier experiments. With --fresh, the engines answer again."


def cut_note(engine: str, cut: int, answers: int) -> str:
    """Return how many answers of an engine a length limit ended, for suites, decisions and reports; empty for none."""
    if not cut:
        return ""
    return (
        f"{engine}: {cut:,} of {counted(answers, 'answer')} {'was' if cut == 1 else 'were'} cut at the length limit. "
        "`--set max_tokens=N` sets a longer one."
    )


Load: TypeAlias = tuple[float, int]
"""The largest load of a machine during runs, and its number of cores; 0 if unknown."""


def load_note(engines: Iterable[Load | None]) -> str:
    """Return a message with the largest load of the machine during the runs of engines; empty if it is unknown."""
    load, cores = max(filter(None, engines), default=(None, 0))
    if load is None:
        return ""
    of = f" ({counted(cores, 'core')})" if cores else ""
    return f"The load of the machine{of} was at most {load:.1f} during the runs."


def larger_load(known: Load | None, result: RunResult) -> Load | None:
    """Return the known load, or the load at the end of a run if that is larger."""
    if result.metrics is None or result.metrics.machine_load is None:
        return known
    found = result.metrics.machine_load, count_at(result.manifest, "machine", "cores") or 0
    return found if known is None else max(known, found)


@dataclass(slots=True, kw_only=True)
class EngineTotals:
    """The totals of an engine's finished runs. `total` includes unfinished runs, `runs` includes failed ones;
    `asserted` counts the answers with checked assertions; of these, `passed` passed all, and `undecided` have one without a
    verdict. Times are in seconds, rates in tokens per second. Each run takes 16 bytes, for the medians."""

    engine: str
    total: int
    runs: int = 0
    failed: int = 0
    asserted: int = 0
    passed: int = 0
    undecided: int = 0
    cut: int = 0
    """Number of answers that a length limit ended."""
    load: Load | None = None
    """The load during the runs that did not fail; None if it is unknown."""
    not_cold: str = ""
    """Why runs may have used a KV cache; empty if all were cold."""
    not_passed: int = 0
    """Number of runs with an assertion that failed."""
    errors: int = 0
    """Number of runs that failed, or that have an assertion without a verdict and none that failed."""
    seconds: float = 0.0
    tokens: int = 0
    counted: int = 0
    """Number of runs with `tokens`, which did not fail."""
    times: dict[tuple[str, bool], array[float]] = field(default_factory=dict)
    """The values of a time or a rate, by its name and whether the runs shared the machine or a server."""

    def add(self, run: ExperimentRun) -> None:
        self.runs += 1
        self.failed += run.result.state == "failed"
        self.cut += run.result.is_cut
        for caution in run.result.cautions:
            if caution.code == "not-cold":
                self.not_cold = f"{self.engine}: {caution.sentence}"
        self.asserted += bool(run.checks)
        self.passed += run.passed is True
        self.undecided += run.is_undecided
        not_passed = any(check.passed is False for check in run.checks)
        self.not_passed += not_passed
        self.errors += run.result.state == "failed" or (run.is_undecided and not not_passed)
        self.seconds += run.duration_s
        metrics = run.result.metrics
        if metrics is not None and run.result.state == "done":
            self.counted += 1
            self.tokens += metrics.completion_tokens
            self.load = larger_load(self.load, run.result)
            for name, value in (("ttft_s", metrics.ttft_s), ("decode_tps", metrics.decode_tps)):
                if value is not None:
                    self.times.setdefault((name, bool(metrics.shared)), array("d")).append(value)

    @property
    def mean_tokens(self) -> float | None:
        """Mean number of generated tokens of the runs that did not fail; None without such runs."""
        return self.tokens / self.counted if self.counted else None

    def quartiles(self, name: str) -> Sequence[float]:
        """Return the quartiles of `ttft_s` or `decode_tps`, all the same for one run; empty without runs. Runs that
        shared a machine are slower: they count only if all runs shared it."""
        values = self.times.get((name, False)) or self.times.get((name, True)) or ()
        return statistics.quantiles(values, method="inclusive") if len(values) > 1 else [*values] * 3

    def is_shared(self, name: str) -> bool:
        return (name, True) in self.times and (name, False) not in self.times

    @property
    def are_times_shared(self) -> bool:
        return self.is_shared("ttft_s") or self.is_shared("decode_tps")

    @property
    def is_clean(self) -> bool:
        return self.runs == self.total and not self.failed and self.passed == self.asserted

    def to_json(self) -> dict[str, Json]:
        names = ("engine", "total", "runs", "failed", "cut", "asserted", "passed", "undecided", "mean_tokens")
        return {
            **{name: getattr(self, name) for name in names},
            **{
                f"{place}_{name}": value
                for name in ("ttft_s", "decode_tps")
                for place, value in zip(
                    ("p25", "median", "p75"), self.quartiles(name) or (None,) * 3, strict=True
                )
            },
            "times_shared": self.are_times_shared,
            "machine_load": self.load and self.load[0],
        }


async def engine_totals(
    history: History, experiment: Experiment, chosen: frozenset[int] | None = None
) -> Sequence[EngineTotals]:
    """Return the totals of the runs of the chosen prompts, in the order of the engines. Raises StoreError."""
    prompts = experiment.prompts if chosen is None else len(chosen)
    totals = [
        EngineTotals(engine=engine.name, total=prompts * experiment.repetitions)
        for engine in experiment.engines
    ]
    async for run in saved_runs(history, experiment, chosen):
        totals[run.key.engine_index].add(run)
    return totals


_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""Characters that XML 1.0 cannot contain, in any notation."""

_HEAD = '<?xml version="1.0" encoding="utf-8"?>\n<!-- paragone suite run -->\n'
"""The beginning of a file of results, by which a later command recognizes that it may replace the file."""

_TITLE = 80
"""Largest number of characters of a prompt in the name of a test case."""


def check_junit(path: Path) -> None:
    """Raise InputError if there is a file that `write_junit` has not written."""
    if not accessible(path):
        return
    with open_regular_file(path) as file:
        if file.read(len(_HEAD)) != _HEAD.encode():
            raise InputError(
                f"{path} exists already, and `paragone suite run` did not write it.",
                hint="Name another file for --junit.",
            )


async def write_junit(
    path: Path,
    history: History,
    experiment: Experiment,
    totals: Sequence[EngineTotals],
    chosen: frozenset[int] | None = None,
) -> None:
    """Write the finished runs of the chosen prompts. The finished file replaces an earlier file. Raises ParagoneError.
    One test case is written at a time, so that memory does not grow with the number of runs."""
    with replacing(path) as file:
        file.write(f"{_HEAD}{_tag('testsuites', name=experiment.name)}\n")
        for index, engine in enumerate(totals):
            counts = {"tests": engine.runs, "failures": engine.not_passed, "errors": engine.errors}
            file.write(f"{_tag('testsuite', name=engine.engine, **counts, time=f'{engine.seconds:.3f}')}\n")
            async for run in saved_runs(history, experiment, chosen):
                if run.key.engine_index == index:
                    number = run.key.prompt_index
                    read = partial(suite.saved_prompt, experiment_id=experiment.number, index=number)
                    file.write(_case(run, await history.call(read), experiment.repetitions))
            file.write("</testsuite>\n")
        file.write("</testsuites>\n")


def _case(run: ExperimentRun, prompt: suite.SuitePrompt, repetitions: int) -> str:
    name = f"{run.key.prompt_index}: {shortened(' '.join(prompt.text.split()), _TITLE)}"
    if repetitions > 1:
        name += f" (repetition {run.key.repetition})"
    kind, cause, text = "", "", ""
    if run.result.error:
        kind, cause, text = "error", "failed run", run.result.message
    elif failed := run.reasons(passed=False):
        kind, cause, text = "failure", "assertion", "\n".join(failed)
    elif undecided := run.reasons(passed=None):
        kind, cause, text = "error", "no verdict", "\n".join(undecided)
    seconds, first = f"{run.duration_s:.3f}", text.partition("\n")[0]
    parts = [_tag("testcase", classname=run.result.definition.name, name=name, time=seconds)]
    if kind:
        parts.append(f"{_tag(kind, message=first, type=cause)}{escape(_clean(text))}</{kind}>")
    if kind and not run.result.error:
        parts.append(f"<system-out>{escape(_clean(run.result.text))}</system-out>")
    return "".join((*parts, "</testcase>\n"))


def _tag(element: str, **attributes: object) -> str:
    shown = (f" {name}={quoteattr(_clean(str(value)))}" for name, value in attributes.items())
    return f"<{element}{''.join(shown)}>"


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
