"""The values of a suite's runs, collected for a comparison: numbers and digests, no texts."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING

from paragone_workbench.experiments.differences.columns import PromptMeans, RunColumns
from paragone_workbench.experiments.differences.compared_metrics import (
    PASS_RATE,
    SPEEDS,
    Metric,
    score_metric,
)
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.statistics.scientific import Values, np

if TYPE_CHECKING:
    from paragone_workbench.experiments.differences.columns import Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteRow:
    """A run of a suite.

    Attributes:
        prompt_index: The prompt's index in the suite.
        repetition: The index of the run among the runs of this prompt and engine.
        engine: The engine's name.
        passed: Whether all assertions hold; None if the prompt has no assertions, or if an assertion gave no verdict.
        undecided: Whether an assertion gave no verdict.
        unjudged: Whether an assertion was not checked yet, since the judge has not been asked.
        scores: Scores by name, such as a judge's.
        metrics: The metrics of the run; None if unknown.
        text: The answer.
        sampled: Whether the answer was sampled: the temperature was above 0.
        failed: Whether the run failed, so that there is no complete answer.
        started: When the run began, in seconds since 1970; None if unknown.
    """

    prompt_index: int
    repetition: int
    engine: str
    passed: bool | None = None
    undecided: bool = False
    unjudged: bool = False
    scores: Mapping[str, float] = field(default_factory=dict)
    metrics: RunMetrics | None = None
    text: str = ""
    sampled: bool = False
    failed: bool = False
    started: float | None = None


class EngineValues:
    """The values of one engine's runs, as means over the repetitions of each prompt."""

    def __init__(self, engine: str) -> None:
        self.engine = engine
        self.runs = 0
        """Number of runs, including failed runs."""
        self.failed = 0
        """Number of runs that failed, whose values are not used."""
        self.shared = 0
        """Number of runs that shared the machine or their server with other runs. The times of these runs are not used."""
        self.columns = RunColumns()
        """The answers, and the times of the runs that shared neither the machine nor their server."""
        self.undecided: set[int] = set()
        """The prompts with an answer about which an assertion gave no verdict."""
        self.unjudged: set[int] = set()
        """The prompts with an answer that an assertion has not checked yet."""
        self.left_out: Collection[int] = ()
        """The prompts that are undecided or unjudged for any engine, which pass rates and scores leave out."""
        self.sampled = False
        """Whether an answer was sampled: the temperature was above 0."""
        self._means: defaultdict[Metric, PromptMeans] = defaultdict(PromptMeans)

    def add(self, row: SuiteRow) -> None:
        """Add a run."""
        self.runs += 1
        if row.failed:
            self.failed += 1
            return
        self.sampled |= row.sampled
        measured = row.metrics if row.metrics is not None and not row.metrics.shared else None
        self.columns.add(
            row.prompt_index,
            row.repetition,
            row.text,
            started=row.started if measured is not None else None,
            rate=measured.decode_tps if measured is not None else None,
        )
        if row.undecided:
            self.undecided.add(row.prompt_index)
        if row.unjudged:
            self.unjudged.add(row.prompt_index)
        if row.passed is not None and not row.unjudged:
            self._add(PASS_RATE, row.prompt_index, float(row.passed))
        for name, score in row.scores.items():
            self._add(score_metric(name), row.prompt_index, score)
        if row.metrics is None:
            return
        self.shared += bool(row.metrics.shared)
        known = _speeds(row.metrics)
        for metric in SPEEDS:
            if (value := known.get(metric.name)) is not None:
                self._add(metric, row.prompt_index, value)

    @property
    def metrics(self) -> tuple[Metric, ...]:
        """The metrics of which the engine has values."""
        return tuple(self._means)

    def means(self, metric: Metric) -> tuple[Numbers, Values]:
        """Return the prompts that have a value and are not left out, in ascending order, and the mean of each prompt."""
        prompts, means = self._means.get(metric, PromptMeans()).means()
        if metric in SPEEDS or not self.left_out:
            return prompts, means
        kept = ~np.isin(prompts, list(self.left_out))
        return prompts[kept], means[kept]

    def values(self, metric: Metric) -> dict[int, float]:
        """Return the mean of each prompt that has a value and is not left out."""
        prompts, means = self.means(metric)
        return dict(zip(prompts.tolist(), means.tolist(), strict=True))

    def _add(self, metric: Metric, prompt: int, value: float) -> None:
        if math.isfinite(value):
            self._means[metric].add(prompt, value)


def collect(rows: Iterable[SuiteRow], engines: Sequence[str]) -> tuple[EngineValues, ...]:
    """Return the values of each engine, in the order of `engines`.

    Rows may come in any order; rows of other engines are skipped. A prompt is left out for all engines if an assertion
    gave no verdict about the answer of any engine. If the prompt counted as failed where another assertion fails, judges
    without verdicts could lower pass rates, but not raise them.
    """
    found = {engine: EngineValues(engine) for engine in engines}
    for row in rows:
        if row.engine in found:
            found[row.engine].add(row)
    left_out = frozenset(chain.from_iterable(values.undecided | values.unjudged for values in found.values()))
    for values in found.values():
        values.left_out = left_out
    return tuple(found.values())


def _speeds(metrics: RunMetrics) -> dict[str, float | None]:
    """Return a run's values of the metrics `SPEEDS`, without times if the run shared the machine or its server."""
    tokens = metrics.completion_tokens
    if metrics.shared:
        return {"completion_tokens": tokens}
    total = None
    if metrics.ttft_s is not None and tokens <= 1:
        total = metrics.ttft_s
    elif metrics.ttft_s is not None and metrics.decode_tps:
        total = metrics.ttft_s + (tokens - 1) / metrics.decode_tps
    return {
        "completion_tokens": tokens,
        "ttft_s": metrics.ttft_s,
        "decode_tps": metrics.decode_tps,
        "total_s": total,
    }
