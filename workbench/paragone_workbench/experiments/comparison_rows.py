"""The compared metrics, the runs of experiments as rows and columns, and whether experiments can be compared."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
from array import array
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain, groupby
from typing import TYPE_CHECKING, TypeAlias

from paragone import Json
from paragone.wire import to_json
from paragone_workbench.compare.parity import check_parity
from paragone_workbench.compare.parity_findings import enumeration, quoted, sides_of
from paragone_workbench.engines.definitions import BackendLookup
from paragone_workbench.experiments.results import Load, larger_load
from paragone_workbench.experiments.suite import SuitePrompt, saved_prompts
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import Run
from paragone_workbench.statistics import Values, decimal, np, scipy
from paragone_workbench.store import Experiment, ExperimentRun, Store
from paragone_workbench.store.errors import StoreError


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric of runs. A `timed` metric depends on the speed of the machine, and is compared only if engines took turns.
    `sentence` is the template of a comparison of engine `b` with engine `a`; `words` are its words for a larger and for a
    smaller value of `b`. `where` is written after the number of prompts that have a value, as in "3 prompts with this score";
    it is empty for a metric that almost all prompts have."""

    name: str
    title: str
    unit: str
    sentence: str
    words: tuple[str, str] = ("more", "less")
    timed: bool = False
    factor: float = 1
    digits: int = 1
    where: str = ""

    def shown(self, value: float) -> str:
        return decimal(self.factor * value, self.digits)


PASS_RATE = Metric(
    "pass_rate", "pass rate", "points", "{b} passes {amount} {word} often than {a}", factor=100
)

SPEEDS = (
    Metric("completion_tokens", "completion tokens", "tokens", "{b} generates {amount} {word} than {a}"),
    Metric(
        "ttft_s",
        "TTFT",
        "ms",
        "{b} takes {amount} {word} to its first token than {a}",
        words=("longer", "less"),
        timed=True,
        factor=1000,
    ),
    Metric(
        "decode_tps",
        "decode rate",
        "tokens/s",
        "{b} decodes {amount} {word} than {a}",
        words=("faster", "slower"),
        timed=True,
    ),
    Metric(
        "total_s",
        "total time",
        "s",
        "{b} takes {amount} {word} for an answer than {a}",
        words=("longer", "less"),
        timed=True,
        digits=2,
    ),
)
"""The metrics of a run's tokens and times. `total_s` is the time to the last token."""


def in_order(metrics: Iterable[Metric]) -> list[Metric]:
    """Return metrics without duplicates in the order of display: pass rate, scores by name, tokens and times."""
    known = set(metrics)
    scores = sorted(known - {PASS_RATE, *SPEEDS}, key=lambda metric: metric.name)
    return [metric for metric in (PASS_RATE, *scores, *SPEEDS) if metric in known]


def score_metric(name: str) -> Metric:
    """Return the metric of a score: a judge's, or the share of a list's values that an answer contains."""
    literal = name.replace("{", "{{").replace("}", "}}")
    message = f"{{b}} scores {{amount}} {{word}} than {{a}} in {literal}"
    words, where = ("higher", "lower"), " with this score"
    return Metric(f"score {name}", f"score of {name}", "", message, words=words, digits=3, where=where)


if TYPE_CHECKING:
    from numpy.typing import NDArray

    Numbers = NDArray[np.int64]


Answered: TypeAlias = tuple[str, ExperimentRun, bool]
"""The name of an engine, a run whose key has the number of the prompt, and whether a judge has still to be asked
about the run."""


class EngineValues:
    """The values of an engine's runs in columns: up to 56 bytes for each run and 8 bytes for each score."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.group: int | None = None
        """Engines of the same group are not compared with each other; None for no group."""
        self.runs = 0
        self.failed = 0
        """Number of runs that failed. Their values are not used: a failure concerns a server or a machine, not the model."""
        self.failure = ""
        """Why the first run failed."""
        self.cut = 0
        """Number of answers that a length limit ended; see `results.cut_note`."""
        self.shared = 0
        """Number of runs whose times are not used, because the runs shared the machine or their server."""
        self.load: Load | None = None
        """The load during the runs whose times are used; None if it is unknown."""
        self.repeated = False
        self.undecided: set[int] = set()
        """The prompts with an answer on which an assertion gave no verdict."""
        self.unjudged: set[int] = set()
        """The prompts with an answer that an assertion has not checked yet."""
        self.left_out: Collection[int] = ()
        """The prompts that are undecided or unjudged for any engine. They do not count in pass rates and scores."""
        self.sampled = False
        self._keys = array("Q")
        self._digests = array("Q")
        self._starts = array("d")
        """The start of each run whose times are compared; NaN for the others."""
        self._columns: dict[Metric, array[float]] = {}
        """The values of each metric, up to the last run that has one; else NaN."""

    def add(self, run: ExperimentRun, *, unjudged: bool = False) -> None:
        result, (prompt, _, repetition) = run.result, run.key
        self.runs += 1
        if result.state == "failed":
            self.failed += 1
            self.failure = self.failure or result.error
            return
        self.cut += result.is_cut
        self.sampled |= _is_sampled(result)
        self.repeated |= repetition > 0
        if run.is_undecided:
            self.undecided.add(prompt)
        if unjudged:
            self.unjudged.add(prompt)
        values: dict[Metric, float | None] = {score_metric(name): it for name, it in run.scores.items()}
        if run.passed is not None and not unjudged:
            values[PASS_RATE] = run.passed
        started = None
        if result.metrics is not None:
            values |= zip(SPEEDS, _speeds(result.metrics), strict=True)
            self.shared += bool(result.metrics.shared)
            started = None if result.metrics.shared else result.started
            if started is not None:
                self.load = larger_load(self.load, result)
        for metric, value in values.items():
            if value is not None and math.isfinite(value):
                column = self._columns.setdefault(metric, array("d"))
                column.extend([math.nan] * (len(self._keys) - len(column)))
                column.append(value)
        self._keys.append(prompt << 32 | repetition)
        digest = blake2b(result.text.encode(errors="surrogatepass"), digest_size=8).digest()
        self._digests.append(int.from_bytes(digest, "little"))
        self._starts.append(math.nan if started is None else started)

    def _column(self, metric: Metric) -> Values:
        found: Values = np.full(len(self._keys), np.nan)
        known = self._columns.get(metric, array("d"))
        found[: len(known)] = known
        return found

    def means(self, metric: Metric) -> tuple[Numbers, Values]:
        """Return the prompts that have a value and count, in ascending order, and the mean of each prompt."""
        values = self._column(metric)
        known = ~np.isnan(values)
        numbers = (np.array(self._keys)[known] >> np.uint64(32)).astype(np.int64)
        prompts, runs, counts = np.unique(numbers, return_inverse=True, return_counts=True)
        means: Values = np.bincount(runs, weights=values[known]) / counts
        if metric in SPEEDS or not self.left_out:
            return prompts, means
        kept = ~np.isin(prompts, list(self.left_out))
        return prompts[kept], means[kept]

    def deviation(self, metric: Metric) -> float | None:
        """Return the standard deviation of a metric over the prompts; None for fewer than two."""
        _, means = self.means(metric)
        return float(means.std(ddof=1)) if len(means) > 1 else None

    def values(self, metric: Metric) -> dict[int, float]:
        prompts, means = self.means(metric)
        return dict(zip(prompts.tolist(), means.tolist(), strict=True))

    @property
    def metrics(self) -> Collection[Metric]:
        return self._columns

    @property
    def averages(self) -> dict[Metric, tuple[float, int]]:
        """For each metric the mean over the prompts that have a value, and the number of these prompts."""
        return {
            metric: (math.fsum(known) / len(known), len(known))
            for metric in in_order(self._columns)
            if (known := self.means(metric)[1].tolist())
        }

    @property
    def drift(self) -> float | None:
        starts, rates = np.array(self._starts), self._column(SPEEDS[2])
        known = ~(np.isnan(starts) | np.isnan(rates))
        return drift(rates[known][np.lexsort((rates[known], starts[known]))])

    @property
    def has_starts(self) -> bool:
        return not bool(np.isnan(np.array(self._starts)).all())

    def common_starts(self, other: EngineValues) -> tuple[Values, Values]:
        _, here, there = self._common(other)
        starts, others = np.array(self._starts)[here], np.array(other._starts)[there]
        known = ~(np.isnan(starts) | np.isnan(others))
        return starts[known], others[known]

    def same_shares(self, other: EngineValues) -> Values:
        """Return, for each prompt that both engines answered, the share of repetitions with equal answers."""
        keys, here, there = self._common(other)
        equal = np.array(self._digests)[here] == np.array(other._digests)[there]
        _, prompts = np.unique(keys >> np.uint64(32), return_inverse=True)
        counts = np.bincount(prompts)
        shares: Values = np.bincount(prompts, weights=equal) / counts
        return shares

    def _common(self, other: EngineValues) -> tuple[NDArray[np.uint64], Numbers, Numbers]:
        """Return the keys that both engines have runs of, in ascending order, and the indices of these runs in each engine."""
        own, others = np.array(self._keys), np.array(other._keys)
        found: tuple[NDArray[np.uint64], Numbers, Numbers] = np.intersect1d(
            own, others, assume_unique=True, return_indices=True
        )
        return found

    def to_json(self) -> dict[str, Json]:
        means: list[Json] = [
            {"metric": metric.name, "mean": mean, "stdev": self.deviation(metric), "prompts": prompts}
            for metric, (mean, prompts) in self.averages.items()
        ]
        return {
            "engine": self.engine,
            "runs": self.runs,
            "failed": self.failed,
            "cut": self.cut,
            "shared": self.shared,
            "machine_load": self.load and self.load[0],
            "undecided": len(self.undecided),
            "unjudged": len(self.unjudged),
            "drift": self.drift,
            "means": means,
        }


def collect(rows: Iterable[Answered], engines: Sequence[str]) -> tuple[EngineValues, ...]:
    """Return the values of each engine, in the order of `engines`, from rows in any order. A prompt does not count
    for any engine if an assertion gave no verdict on the answer of one engine: otherwise, missing verdicts could
    lower pass rates, but not raise them."""
    found = {engine: EngineValues(engine) for engine in engines}
    for engine, run, unjudged in rows:
        if engine in found:
            found[engine].add(run, unjudged=unjudged)
    left_out = frozenset(chain.from_iterable(values.undecided | values.unjudged for values in found.values()))
    for values in found.values():
        values.left_out = left_out
    return tuple(found.values())


def _speeds(metrics: RunMetrics) -> tuple[float | None, ...]:
    """Return a run's values of the metrics `SPEEDS`, without times if the run shared the machine or its server."""
    tokens, ttft, rate = metrics.completion_tokens, metrics.ttft_s, metrics.decode_tps
    if metrics.shared:
        return tokens, None, None, None
    total = None
    if ttft is not None and tokens <= 1:
        total = ttft
    elif ttft is not None and rate:
        total = ttft + (tokens - 1) / rate
    return tokens, ttft, rate, total


def collect_experiments(store: Store, experiments: Sequence[Experiment]) -> tuple[EngineValues, ...]:
    """Return the values of all engines of experiments, as `collect` does. Raises StoreError. With several
    experiments, the experiment's id follows the name of an engine, and engines of one experiment are not compared
    with each other. Prompts with the same messages and expected answer count as the same prompt."""
    several = len(experiments) > 1
    named = {
        engine_label(experiment, engine.name, with_number=several): experiment.number
        for experiment in experiments
        for engine in experiment.engines
    }
    found = collect(experiment_rows(store, experiments), list(named))
    if several:
        for values in found:
            values.group = named[values.engine]
    return found


def experiment_rows(store: Store, experiments: Sequence[Experiment]) -> Iterator[Answered]:
    """Yield the runs of experiments in the order of the prompts. Raises StoreError."""
    several = len(experiments) > 1
    numbers: dict[str, int] = {}
    for experiment in experiments:
        saved = saved_prompts(store, experiment.number)
        prompts = numbered_prompts(saved, numbers) if several else enumerate(saved)
        # Prompts and runs are both read in the order of the prompts, so that none must be kept in memory.
        for index, runs in groupby(
            store.experiments.runs(experiment.number), lambda run: run.key.prompt_index
        ):
            found = next((item for item in prompts if item[1].index == index), None)
            if found is None:
                raise StoreError(
                    f"Experiment e{experiment.number} lacks the prompt #{index} that it has runs of."
                )
            number, prompt = found
            for run in runs:
                name = engine_label(experiment, run.result.definition.name, with_number=several)
                numbered = dataclasses.replace(run, key=run.key._replace(prompt_index=number))
                yield name, numbered, len(run.assertions) < len(prompt.assertions)


def engine_label(experiment: Experiment, engine: str, *, with_number: bool) -> str:
    return f"{engine} (e{experiment.number})" if with_number else engine


def numbered_prompts(
    prompts: Iterable[SuitePrompt], numbers: dict[str, int]
) -> Iterator[tuple[int, SuitePrompt]]:
    """Yield the prompts of an experiment with numbers from `numbers`: a prompt has the same number in all experiments."""
    repeated: Counter[str] = Counter()
    for prompt in prompts:
        compared = [[to_json(message) for message in prompt.messages], prompt.expected]
        digest = hashlib.sha256(json.dumps(compared).encode()).hexdigest()
        repeated[digest] += 1
        yield numbers.setdefault(f"{digest} {repeated[digest]}", len(numbers)), prompt


def _is_sampled(record: RunResult) -> bool:
    sampling = record.settings.sampling if record.settings is not None else None
    temperature = sampling.get("temperature") if sampling is not None else None
    return isinstance(temperature, int | float) and temperature > 0


_NOT_SET = {"seed", "cached tokens"}
"""Conditions that differ from run to run even with the same settings."""

_MACHINE = ("cpu", "cores", "gpus")


def different_conditions(
    store: Store, experiments: Sequence[Experiment], find: BackendLookup
) -> tuple[str, ...]:
    """Return messages on the differences between the experiments, from runs of the first prompt that all share. A
    difference between engines that is the same in each experiment is skipped. `find` returns the backend of a name.
    Raises StoreError."""
    if len(experiments) < 2:
        return ()
    prompts = [tuple(saved_prompts(store, experiment.number)) for experiment in experiments]
    sides = [
        sides_of(((name, Run(run)) for name, run in of_engines.items()), find)
        for of_engines in _runs_of_one_prompt(store, experiments, prompts)
    ]
    parity = check_parity([side for of_experiment in sides for side in of_experiment])
    findings = [
        finding.sentence
        for finding in parity.findings
        if finding.what not in _NOT_SET
        and _differ([finding.values.get(side.name) for side in of_experiment] for of_experiment in sides)
    ]
    return (*findings, *_experiment_differences(store, experiments, prompts))


def _runs_of_one_prompt(
    store: Store, experiments: Sequence[Experiment], prompts: Sequence[Sequence[SuitePrompt]]
) -> Iterator[dict[str, RunResult]]:
    numbers: dict[str, int] = {}
    indices = [
        {number: prompt.index for number, prompt in numbered_prompts(of_experiment, numbers)}
        for of_experiment in prompts
    ]
    common = set.intersection(*map(set, indices))
    if not common:
        return
    for experiment, by_number in zip(experiments, indices, strict=True):
        first: dict[str, RunResult] = {}
        for run in store.experiments.runs_of_prompt(experiment.number, by_number[min(common)]):
            first.setdefault(
                engine_label(experiment, run.result.definition.name, with_number=True), run.result
            )
        yield first


def _experiment_differences(
    store: Store, experiments: Sequence[Experiment], prompts: Sequence[Sequence[SuitePrompt]]
) -> Iterator[str]:
    def named(values: Iterable[str | None]) -> str:
        """Return the values in the experiments as text; empty if all known values are the same."""
        by_id = {f"e{it.number}": value for it, value in zip(experiments, values, strict=True)}
        return enumeration(by_id) if len({*by_id.values()} - {None}) > 1 else ""

    firsts = ({prompt.messages[0] for prompt in of_one} for of_one in prompts)
    systems = ({quoted(it.text) if it.role == "system" else "none" for it in of_one} for of_one in firsts)
    if found := named(" or ".join(sorted(texts)) for texts in systems):
        yield f"The system prompt is {found}. A prompt with a different system prompt is a different prompt."
    if found := named(" and ".join(store.experiments.judges(it.number)) or None for it in experiments):
        yield f"The judges are {found}. Verdicts of different judges are not comparable."
    if found := named(experiment.schedule for experiment in experiments):
        yield f"The schedule is {found}. Speeds in different schedules are not comparable."
    for part in _MACHINE:
        if found := named(_shown(experiment.machine.get(part)) for experiment in experiments):
            yield f"The machine's {part}: {found}. Speeds are not comparable, and rounding can differ."


def _differ(values: Iterable[Iterable[Json]]) -> bool:
    """Return whether experiments have different values. An unknown value counts as equal to every value."""
    known = [{json.dumps(value, sort_keys=True) for value in of_one} - {"null"} for of_one in values]
    return any(one != other for one in known for other in known if one and other)


def _shown(value: Json) -> str | None:
    if isinstance(value, list | tuple):
        names = [str(item.get("name", "")) if isinstance(item, Mapping) else str(item) for item in value]
        return ", ".join(names) or "none"
    return None if value is None else str(value)


_LONGEST = 3.0
"""Engines alternate if the mean number of consecutive runs of one engine is at most this. If two engines take turns
in answering first, the mean is 2."""

_FEWEST = 20
"""Smallest number of runs in which a trend is looked for."""

_LEVEL = 0.001
"""There is a trend if the p-value of Spearman's rank correlation with time is below this."""

_LEAST = 0.05
"""Smallest relative change that is reported."""


def took_turns(one: Values, other: Values) -> bool:
    """Return whether two engines took turns, from the starts of their runs in seconds. Only the prompts and
    repetitions that both engines answered count. The speed of a machine changes within minutes. If one
    engine answers all prompts before the other begins, such a change looks like a difference between the engines:
    with the same file under two names, a difference in speed was "shown" in 9 of 28 experiments."""
    times = np.concatenate([one, other])
    whose = np.repeat([0, 1], [one.size, other.size])[np.argsort(times, kind="stable")]
    changes = int(np.count_nonzero(np.diff(whose)))
    return bool(times.size) and times.size / (changes + 1) <= _LONGEST


def drift(rates: Values) -> float | None:
    """Return the relative change of the decode rate from the first third of the runs to the last third. `rates` are the
    rates of the runs, in the order in which the runs began. The change is between the medians of the two thirds; None
    if the rates have no trend in time (Spearman's rank correlation, p < 0.001), or change by less than 5%."""
    if rates.size < _FEWEST:
        return None
    if not np.ptp(rates) or scipy.stats.spearmanr(np.arange(rates.size), rates).pvalue >= _LEVEL:
        return None
    third = rates.size // 3
    first, last = float(np.median(rates[:third])), float(np.median(rates[-third:]))
    change = last / first - 1
    return change if abs(change) >= _LEAST else None
