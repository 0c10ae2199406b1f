"""A comparison of engines over a suite of prompts: every pair of engines by every metric."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations

from paragone import Json
from paragone_workbench.experiments.differences.compared_metrics import PASS_RATE, Metric, in_order
from paragone_workbench.experiments.differences.drift import alternate, drift
from paragone_workbench.experiments.differences.metric_comparison import MetricComparison, SameAnswers
from paragone_workbench.experiments.differences.non_inferiority import (
    MARGIN,
    NonInferiority,
    non_inferiority,
)
from paragone_workbench.experiments.differences.suite_values import EngineValues
from paragone_workbench.statistics.intervals import FEWEST
from paragone_workbench.statistics.paired import PairedDifference, PairedKind, holm, paired_difference
from paragone_workbench.statistics.scientific import np

_UNDECIDED = ", for every engine: an assertion gave no verdict about an answer ({who})."
_UNJUDGED = (
    ": their judges have not been asked yet ({who}). Repeat the command that ran the suite to ask them."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineSummary:
    """The figures of one engine.

    Attributes:
        engine: The engine's name.
        runs: Number of runs.
        failed: Number of runs that failed. All other figures leave failed runs out, because a failure says something
            about a server or a machine, not about answers.
        shared: Number of runs that shared the machine or their server with other runs. All figures leave out the times
            of these runs.
        undecided: Number of prompts with an answer about which an assertion gave no verdict.
        unjudged: Number of prompts with an answer that an assertion has not checked yet.
        drift: Relative change of the decode rate in the course of the runs; None without a trend. See `drift`.
        means: For each metric the mean over the prompts that have a value, and the number of these prompts. Pass
            rates and scores leave out the prompts that are undecided for any engine.
    """

    engine: str
    runs: int
    failed: int
    shared: int
    undecided: int
    unjudged: int
    drift: float | None
    means: dict[Metric, tuple[float, int]]

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON."""
        return {
            "engine": self.engine,
            "runs": self.runs,
            "failed": self.failed,
            "shared": self.shared,
            "undecided": self.undecided,
            "unjudged": self.unjudged,
            "drift": self.drift,
            "means": [
                {"metric": metric.name, "mean": mean, "prompts": prompts}
                for metric, (mean, prompts) in self.means.items()
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteComparison:
    """A comparison of engines over a suite.

    Attributes:
        engines: The figures of each engine.
        comparisons: The comparison of each pair of engines by each metric for which both engines have values at a common prompt.
        not_worse: For both orders of each pair of engines, whether the pass rate of the second engine is lower than that of
            the first by more than a margin.
        same: How often the texts of a pair are equal, for each pair that answered a common prompt.
        undecided: Number of prompts that are left out of pass rates and scores for all engines, since an assertion
            gave no verdict about an answer.
        unjudged: Number of prompts that are left out of pass rates and scores for all engines, since a judge has not been
            asked yet.
        apart: Pairs of engines whose times are not compared, because the runs did not alternate.
    """

    engines: tuple[EngineSummary, ...]
    comparisons: tuple[MetricComparison, ...]
    same: tuple[SameAnswers, ...]
    undecided: int = 0
    unjudged: int = 0
    apart: tuple[tuple[str, str], ...] = ()
    not_worse: tuple[NonInferiority, ...] = ()

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about the values that the figures leave out."""
        return tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        yield from self._left_out_note(self.undecided, lambda engine: engine.undecided, _UNDECIDED)
        yield from self._left_out_note(self.unjudged, lambda engine: engine.unjudged, _UNJUDGED)
        for engine in self.engines:
            if engine.failed:
                yield (
                    f"{engine.engine}: {engine.failed:,} of {engine.runs:,} runs failed. "
                    "Failed runs are left out of all figures."
                )
        for engine in self.engines:
            if engine.shared:
                yield (
                    f"{engine.engine}: {engine.shared:,} of {engine.runs:,} runs shared this machine or their server "
                    "with other runs. The times of these runs are left out."
                )
        if self.apart:
            pairs = "; ".join(f"{a} and {b}" for a, b in self.apart)
            yield (
                f"Times are not compared between {pairs}: their runs did not alternate, so a change of the machine's "
                "speed would look like a difference. In one experiment with `--schedule sequential` the runs alternate."
            )
        for engine in self.engines:
            if engine.drift is not None:
                verb = "fell" if engine.drift < 0 else "rose"
                yield (
                    f"{engine.engine}: the decode rate {verb} by {abs(engine.drift):.0%} from the first third of the runs to the "
                    "last. The machine was busy or changed its speed, unless the prompts became longer or shorter: the "
                    "engine's speeds are uncertain."
                )

    def _left_out_note(self, count: int, of: Callable[[EngineSummary], int], why: str) -> Iterator[str]:
        """Yield the note on prompts that pass rates and scores leave out.

        `why` is the end of the sentence; `{who}` in `why` becomes the names of engines, each with a number of prompts.
        """
        if count:
            who = ", ".join(f"{engine.engine}: {of(engine):,}" for engine in self.engines if of(engine))
            prompts = f"{count:,} prompt{'s are' if count > 1 else ' is'}"
            yield f"{prompts} left out of all pass rates and scores{why.format(who=who)}"


def compare_suite(
    collected: Sequence[EngineValues], *, groups: Sequence[Collection[str]] = (), margin: float = MARGIN
) -> SuiteComparison:
    """Compare engines over the prompts of a suite, by the values of runs.

    A pair of engines is compared over the prompts for which both engines have a value. Pass rates and scores leave out the prompts
    that are undecided for any engine. Times are compared only if the runs of the two engines alternated. The p-values of all
    comparisons over `FEWEST` prompts or more, all pairs of engines × all metrics, are adjusted together by Holm's
    method: if no engines differ, at most 5% of suites show any difference. Engines of the same group in `groups` are
    not compared with each other. `margin` is the loss of the pass rate, from 0 to 1, up to which an engine counts as
    not worse.
    """
    metrics = in_order(metric for engine in collected for metric in engine.metrics)
    pairs = [
        (one, other)
        for one, other in combinations(collected, 2)
        if not any(one.engine in group and other.engine in group for group in groups)
    ]
    apart = [(one, other) for one, other in pairs if not alternate(*one.columns.common_starts(other.columns))]
    found = [
        (one, other, metric, paired)
        for one, other in pairs
        for metric in metrics
        if not (metric.timed and (one, other) in apart)
        and (paired := _paired(one, other, metric)) is not None
    ]
    ps = {index: paired.p for index, (*_, paired) in enumerate(found) if paired.prompts >= FEWEST}
    adjusted = dict(zip(ps, holm(list(ps.values())), strict=True))
    comparisons = tuple(
        MetricComparison(
            a=one.engine,
            b=other.engine,
            metric=metric,
            paired=paired,
            adjusted_p=adjusted.get(index),
            comparisons=len(adjusted),
            repeated=one.columns.repeated or other.columns.repeated,
        )
        for index, (one, other, metric, paired) in enumerate(found)
    )
    return SuiteComparison(
        engines=tuple(map(_summary, collected)),
        comparisons=comparisons,
        not_worse=tuple(non_inferiority(comparisons, margin)),
        same=tuple(same for one, other in pairs if (same := _same_answers(one, other)) is not None),
        undecided=len(set(chain.from_iterable(values.undecided for values in collected))),
        unjudged=len(set(chain.from_iterable(values.unjudged for values in collected))),
        apart=tuple(
            (one.engine, other.engine)
            for one, other in apart
            if one.columns.has_starts and other.columns.has_starts
        ),
    )


def comparison_json(comparison: SuiteComparison) -> dict[str, Json]:
    """Return a comparison as JSON. docs/command-line.schema.json has the schema."""
    return {
        "engines": [engine.to_json() for engine in comparison.engines],
        "comparisons": [pair.to_json() for pair in comparison.comparisons],
        "non_inferiority": [pair.to_json() for pair in comparison.not_worse],
        "same_answers": [pair.to_json() for pair in comparison.same],
        "undecided": comparison.undecided,
        "unjudged": comparison.unjudged,
        "notes": list(comparison.notes),
    }


def _paired(one: EngineValues, other: EngineValues, metric: Metric) -> PairedDifference | None:
    prompts_a, a = one.means(metric)
    prompts_b, b = other.means(metric)
    common, in_a, in_b = np.intersect1d(prompts_a, prompts_b, assume_unique=True, return_indices=True)
    if not common.size:
        return None
    kind: PairedKind = "numbers"
    if metric == PASS_RATE:
        kind = "shares" if one.columns.repeated or other.columns.repeated else "passes"
    return paired_difference(a[in_a], b[in_b], kind=kind)


def _same_answers(one: EngineValues, other: EngineValues) -> SameAnswers | None:
    shares = one.columns.same_shares(other.columns).tolist()
    if not shares:
        return None
    return SameAnswers(
        a=one.engine,
        b=other.engine,
        prompts=len(shares),
        share=math.fsum(shares) / len(shares),
        sampled=one.sampled or other.sampled,
    )


def _summary(values: EngineValues) -> EngineSummary:
    means = {
        metric: (math.fsum(known) / len(known), len(known))
        for metric in in_order(values.metrics)
        if (known := values.means(metric)[1].tolist())
    }
    return EngineSummary(
        engine=values.engine,
        runs=values.runs,
        failed=values.failed,
        shared=values.shared,
        undecided=len(values.undecided),
        unjudged=len(values.unjudged),
        drift=drift(values.columns.rates()),
        means=means,
    )
