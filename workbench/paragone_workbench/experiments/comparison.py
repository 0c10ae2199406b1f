"""Comparisons of engines over a suite of prompts: by metrics, by the texts of answers, and non-inferiority with a margin."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from statistics import NormalDist
from typing import Literal

from paragone import Json
from paragone.texts import counted
from paragone.wire import to_json
from paragone_workbench import statistics
from paragone_workbench.blocks import Remark, Section, Table, TableCell, TableLine
from paragone_workbench.experiments import comparison_rows
from paragone_workbench.experiments.results import cut_note, load_note


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricComparison:
    """The difference B − A of two engines in one metric. `adjusted_p` is the p-value after Holm's correction for all
    comparisons over `FEWEST` prompts or more; None for fewer prompts, which cannot show a difference."""

    a: str
    b: str
    metric: comparison_rows.Metric
    paired: statistics.PairedDifference
    adjusted_p: float | None
    comparisons: int
    repeated: bool = False

    @property
    def shown(self) -> bool:
        """Whether the data show a difference: the adjusted p-value is below 0.05 and the interval excludes 0."""
        return self.adjusted_p is not None and self.adjusted_p < statistics.LEVEL and self._is_zero_excluded

    @property
    def _is_contradictory(self) -> bool:
        """Whether the p-value and the interval, which come from different methods, disagree."""
        if self.adjusted_p is None or self.paired.interval is None:
            return False
        return (self.adjusted_p < statistics.LEVEL) != self._is_zero_excluded

    @property
    def _is_zero_excluded(self) -> bool:
        return self.paired.interval is None or not self.paired.interval.contains_zero

    @property
    def sentence(self) -> str:
        metric, paired = self.metric, self.paired
        details = "; ".join(filter(None, (self._interval(), self._counts(), self._p())))
        if self.shown:
            amount = f"{metric.shown(abs(paired.difference))} {metric.unit}".rstrip()
            word = metric.words[paired.difference < 0]
            return f"{metric.sentence.format(a=self.a, b=self.b, amount=amount, word=word)} ({details})."
        if not (paired.more_a or paired.more_b):
            return f"{self.b} and {self.a} do not differ in {metric.title} at any of {counted(paired.prompts, 'prompt')}{metric.where}."
        amount = f"{self.b} − {self.a} = {metric.shown(paired.difference)} {metric.unit}".rstrip()
        if self._is_contradictory:
            return f"In {metric.title}, {amount}; the test and the interval disagree, so no difference is claimed ({details})."
        return f"In {metric.title}, {amount}, which may be chance ({details})."

    def to_json(self) -> dict[str, Json]:
        paired = to_json(self.paired, complete=True)
        paired["interval_method"] = paired.pop("method")
        return {
            "a": self.a,
            "b": self.b,
            "metric": self.metric.name,
            **paired,
            "difference": self.paired.difference,
            "adjusted_p": self.adjusted_p,
            "comparisons": self.comparisons,
            "shown": self.shown,
            "sentence": self.sentence,
        }

    def _interval(self) -> str:
        metric, interval = self.metric, self.paired.interval
        if interval is not None:
            # the message shows a negative difference without its sign, so the signs of the interval change too
            turn = -1 if self.shown and self.paired.difference < 0 else 1
            low, high = sorted((turn * interval.low, turn * interval.high))
            return f"95% interval {metric.shown(low)} to {metric.shown(high)}"
        if self.paired.prompts < statistics.FEWEST:
            return f"no interval below {statistics.FEWEST} prompts, here {self.paired.prompts}"
        return "no interval, as all prompts differ by the same amount"

    def _counts(self) -> str:
        if self.metric != comparison_rows.PASS_RATE:
            return counted(self.paired.prompts, "prompt") if self.paired.prompts >= statistics.FEWEST else ""
        word = "more often" if self.repeated else "only"
        return (
            f"{counted(self.paired.more_b, 'prompt')} {word} {self.b}, {self.paired.more_a} {word} {self.a}"
        )

    def _p(self) -> str:
        if self.adjusted_p is None:
            return ""
        p = "p < 0.001" if self.adjusted_p < 0.001 else f"p = {self.adjusted_p:.2g}"
        if self.comparisons == 1:
            return f"{p}, from another method than the interval" if self._is_contradictory else p
        corrected = f"{p} after Holm's correction for {self.comparisons} comparisons"
        return f"{corrected}, and the interval is not corrected" if self._is_contradictory else corrected


@dataclass(frozen=True, slots=True, kw_only=True)
class SameAnswers:
    """How often two engines gave the same text: the mean over `prompts` prompts of the share of equal repetitions."""

    a: str
    b: str
    prompts: int
    share: float
    sampled: bool = False

    @property
    def sentence(self) -> str:
        message = f"{self.a} and {self.b} gave the same answer to {self.share:.1%} of {counted(self.prompts, 'prompt')}."
        if self.sampled and self.share < 1:
            message += (
                " The temperature was above 0, so sampling makes answers differ too; `--set temperature=0` "
                "leaves chance out."
            )
        return message

    def to_json(self) -> dict[str, Json]:
        fields = to_json(self, complete=True)
        del fields["sampled"]
        return {**fields, "sentence": self.sentence}


MARGIN = 0.03
"""The default margin: 3 points of the pass rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NonInferiority:
    """Whether the engine `b` is worse than the engine `a` by more than a margin, over the prompts that both answered.
    Pass rates and the margin are from 0 to 1. The difference is the pass rate of `b` minus the pass rate of `a`. With
    a probability of 95%, the intervals of all `comparisons` contain the true differences at every interim look.
    `planned` prompts will be answered by both engines in the end; 0 if no further answers will come."""

    a: str
    b: str
    margin: float
    difference: float
    interval: statistics.Interval
    prompts: int
    comparisons: int = 1
    planned: int = 0

    @property
    def is_early(self) -> bool:
        """Whether planned prompts are not answered yet, so that the verdict is preliminary."""
        return self.planned > self.prompts

    @property
    def interval_name(self) -> str:
        """The kind of interval: an interval for early looks is wider than a 95% interval for the same answers."""
        count = self.comparisons
        together = "both comparisons" if count == 2 else f"all {count} comparisons"
        of_all = f" of {together} together" if count > 1 else ""
        return f"{'interval for early looks' if self.is_early else '95% interval'}{of_all}"

    def as_one_of(self, comparisons: int, planned: int) -> NonInferiority:
        """Return this comparison as one of several, after `prompts` of the `planned` prompts, with a wider interval.

        With k comparisons, a false claim is up to k times as likely, so each comparison has a level of 5%/k (Bonferroni).
        Repeated looks at growing data give a false verdict sooner or later. Until all prompts are answered, the interval
        is therefore O'Brien and Fleming's (1979) for any number of looks: by the reflection principle, a Brownian motion
        exceeds z at some time up to 1 with twice the probability of exceeding z at the time 1. The interval has z/√t
        standard errors on each side, where z belongs to half the level, and t is prompts/planned.

        """
        found = replace(self, comparisons=comparisons, planned=planned)
        middle = (self.interval.low + self.interval.high) / 2
        half = (self.interval.high - middle) * found._z / self._z
        return replace(
            found, interval=statistics.Interval(low=max(-1.0, middle - half), high=min(1.0, middle + half))
        )

    @property
    def _z(self) -> float:
        """Standard errors on each side of the interval."""
        if not self.is_early:
            return self._last_z
        return _quantile(0.05 / self.comparisons / 2) * math.sqrt(self.planned / self.prompts)

    @property
    def _last_z(self) -> float:
        """Standard errors on each side of the interval when all prompts are answered."""
        return _quantile(0.05 / self.comparisons)

    @property
    def verdict(self) -> Literal["not worse", "worse", "open"]:
        """`not worse`: the whole interval is above −margin. `worse`: the whole interval is below −margin. Else `open`."""
        if self.interval.low > -self.margin:
            return "not worse"
        return "worse" if self.interval.high < -self.margin else "open"

    @property
    def prompts_needed(self) -> tuple[int, int] | None:
        """The least and the most prompts, in all, for a verdict with a probability of 80%, if the difference stays the same;
        None above a million prompts.

        n = (z + z₀.₈₀)² σ² / (d + margin)², where z is z₀.₉₇₅ for one comparison, d is the middle of the interval, and σ²,
        the variance of the difference at one prompt, is the share of prompts that only one engine passes, less d². The
        width of the interval gives this share, and Wilson's interval of the share gives the least and the most.
        """
        middle = (self.interval.low + self.interval.high) / 2
        error = (self.interval.high - self.interval.low) / (2 * self._z)
        share = min(1.0, error**2 * self.prompts + middle**2)
        shares = statistics.share_interval(share, self.prompts)
        least, most = (
            statistics.values_needed(
                max(0.0, end - middle**2), abs(middle + self.margin), z=self._last_z, estimates_variance=False
            )
            for end in (shares.low, shares.high)
        )
        return None if least is None or most is None else (least, most)

    @property
    def more_prompts(self) -> tuple[int, int] | None:
        """The least and the most further prompts until a verdict, rounded to two digits: at least 1, since an early look has
        a wider interval."""
        if self.prompts_needed is None:
            return None
        least, most = (statistics.rounded_up(max(1, count - self.prompts)) for count in self.prompts_needed)
        return least, most

    @property
    def sentence(self) -> str:
        claim = f"worse than {self.a} by more than {comparison_rows.PASS_RATE.shown(self.margin)} points"
        match self.verdict:
            case "not worse":
                low = self.interval.low
                amount = f"{comparison_rows.PASS_RATE.shown(abs(low))} points {'less' if low < 0 else 'more'} often"
                return f"{self.b} is not {claim}: at worst, {self.b} passes {amount}."
            case "worse":
                return f"{self.b} is {claim}."
        if self.more_prompts is None:
            return f"Whether {self.b} is {claim} is open, and more prompts hardly settle this."
        least, most = self.more_prompts
        about = (
            f"{least:,} to {counted(most, 'more prompt')}" if least < most else counted(most, "more prompt")
        )
        return f"Whether {self.b} is {claim} is open. About {about} would settle this."

    def to_json(self) -> dict[str, Json]:
        return {
            **to_json(self, complete=True),
            "interval_name": self.interval_name,
            "verdict": self.verdict,
            "prompts_needed": [*self.prompts_needed]
            if self.verdict == "open" and self.prompts_needed
            else None,
            "sentence": self.sentence,
        }


def prompts_for(margin: float, comparisons: int) -> int:
    """Return the fewest prompts that rule out a loss of the margin if all engines pass the same prompts: the
    interval's half width is z√2/(n + 2)."""
    return math.floor(_quantile(0.05 / comparisons) * math.sqrt(2) / margin - 2) + 1


def too_few_prompts(checked: int, margin: float, comparisons: int) -> str:
    """Return a warning if `checked` prompts are too few to rule out a loss of the margin, whatever the answers; else empty."""
    needed = prompts_for(margin, comparisons)
    if checked >= needed:
        return ""
    return (
        f"{counted(checked, 'prompt')} cannot rule out a loss of {comparison_rows.PASS_RATE.shown(margin)} points: at least {needed:,} are needed, "
        "even if all engines pass the same prompts. Name a larger suite (--suite), or a larger --margin."
    )


def _quantile(level: float) -> float:
    """Return the number of standard errors z of a two-sided test at this level."""
    return NormalDist().inv_cdf(1 - level / 2)


def non_inferiority(
    comparisons: Iterable[MetricComparison], margin: float, *, planned: int = 0, both_ways: bool = False
) -> tuple[NonInferiority, ...]:
    """Return a verdict on `b` of each pair, with an interval for the difference in pass rates; with `both_ways`, on
    `a` too. All verdicts hold together, even at an early look before all `planned` prompts are answered."""
    found = [it for it in comparisons if it.metric == comparison_rows.PASS_RATE and it.paired.interval]
    verdicts: list[NonInferiority] = []
    for pair in found:
        interval, prompts = pair.paired.interval, pair.paired.prompts
        assert interval is not None
        turned = statistics.Interval(low=-interval.high, high=-interval.low)
        ways = [(pair.a, pair.b, pair.paired.difference, interval)]
        ways += [(pair.b, pair.a, -pair.paired.difference, turned)] if both_ways else []
        for a, b, difference, own in ways:
            alone = NonInferiority(
                a=a, b=b, margin=margin, difference=difference, interval=own, prompts=prompts
            )
            verdicts.append(alone.as_one_of(len(found), planned))
    return tuple(verdicts)


_COLUMNS = {
    "pass_rate": "pass %",
    "completion_tokens": "tokens",
    "ttft_s": "TTFT (ms)",
    "decode_tps": "tokens/s",
    "total_s": "total (s)",
}
"""Titles of columns, by the names of metrics."""

_UNDECIDED = ", for every engine: an assertion gave no verdict about an answer ({who})."
_UNJUDGED = (
    ": their judges have not been asked yet ({who}). Repeat the command that ran the suite to ask them."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteComparison:
    """A comparison of engines over a suite by each metric: each engine with the `reference`; without one, all pairs.
    `apart` are the pairs whose times are not compared, because their runs did not alternate."""

    engines: Sequence[comparison_rows.EngineValues]
    comparisons: tuple[MetricComparison, ...]
    same: tuple[SameAnswers, ...]
    reference: str = ""
    apart: tuple[tuple[str, str], ...] = ()
    not_worse: tuple[NonInferiority, ...] = ()
    rates: Mapping[str, tuple[float, int]] = field(default_factory=dict)
    """For a decision, the pass rate of each engine that has one, and the number of prompts, which is the same for all."""
    planned: int = 0
    """For a decision, the number of prompts that all engines will have answered in the end."""

    @property
    def prompts(self) -> int:
        return max((prompts for _, prompts in self.rates.values()), default=0)

    @property
    def notes(self) -> tuple[str, ...]:
        return tuple(self._notes())

    def _notes(self) -> Iterator[str]:
        yield from self._left_out_note(lambda engine: engine.undecided, _UNDECIDED)
        yield from self._left_out_note(lambda engine: engine.unjudged, _UNJUDGED)
        for engine in self.engines:
            if engine.failed:
                yield (
                    f"{engine.engine}: {engine.failed:,} of {engine.runs:,} runs failed. "
                    "Failed runs do not count in any figure."
                    + (f" The first one: {engine.failure}" if engine.failure else "")
                )
        for engine in self.engines:
            if note := cut_note(engine.engine, engine.cut, engine.runs - engine.failed):
                yield note
        if self.reference and len(self.engines) > 2:
            yield f"Each engine is compared with {self.reference}. `suite compare --all-pairs` compares all pairs."
        for engine in self.engines:
            if engine.shared:
                yield (
                    f"{engine.engine}: {engine.shared:,} of {engine.runs:,} runs shared this machine or their server "
                    "with other runs. The times of these runs do not count."
                )
        if self.apart:
            pairs = "; ".join(f"{a} and {b}" for a, b in self.apart)
            yield (
                f"Times are not compared between {pairs}: their runs did not alternate, so a change of the machine's "
                "speed would look like a difference. In one experiment with `--schedule sequential` the runs alternate."
            )
        if note := load_note(engine.load for engine in self.engines):
            yield note
        for engine in self.engines:
            if engine.drift is not None:
                verb = "fell" if engine.drift < 0 else "rose"
                yield (
                    f"{engine.engine}: the decode rate {verb} by {abs(engine.drift):.0%} from the first third of the runs to the "
                    "last. The machine was busy or changed its speed, unless the prompts became longer or shorter: the "
                    "engine's speeds are uncertain."
                )

    def _left_out_note(
        self, of: Callable[[comparison_rows.EngineValues], set[int]], why: str
    ) -> Iterator[str]:
        """Yield a note on prompts that do not count. `why` ends the note; its `{who}` becomes the names of engines,
        each with a number of prompts."""
        if count := self._count(of):
            who = ", ".join(f"{engine.engine}: {len(of(engine)):,}" for engine in self.engines if of(engine))
            prompts = f"{count:,} prompt{'s are' if count > 1 else ' is'}"
            yield f"{prompts} not counted in any pass rate or score{why.format(who=who)}"

    def _count(self, of: Callable[[comparison_rows.EngineValues], set[int]]) -> int:
        return len(set[int]().union(*map(of, self.engines)))

    def sections(self) -> Iterator[Section]:
        """Yield the means of the engines, and the findings about each pair that answered the same prompts."""
        metrics = list({metric: None for engine in self.engines for metric in engine.averages})

        def cell(engine: comparison_rows.EngineValues, metric: comparison_rows.Metric) -> TableCell:
            mean, _ = engine.averages.get(metric, (None, 0))
            deviation = engine.deviation(metric) if metric.timed and mean is not None else None
            spread = "" if deviation is None else f" ± {metric.shown(deviation)}"
            return TableCell("" if mean is None else f"{metric.shown(mean)}{spread}")

        lines = (
            TableLine(
                name=it.engine,
                cells=(
                    TableCell(f"{it.runs:,}"),
                    TableCell(f"{it.failed:,}"),
                    *(cell(it, metric) for metric in metrics),
                ),
            )
            for it in self.engines
        )
        columns = ("runs", "failed", *(_COLUMNS.get(metric.name, metric.title) for metric in metrics))
        note = "± is the standard deviation over the prompts." if any(it.timed for it in metrics) else ""
        nothing = "No two engines answered the same prompt, so they cannot be compared."
        notes = self.notes if self.same else (nothing, *self.notes)
        yield Section(
            title="Means",
            tables=(Table(columns=columns, lines=tuple(lines), note=note),),
            remarks=tuple(map(Remark, notes)),
        )
        for same in self.same:
            pair = {same.a, same.b}
            differences = [it.sentence for it in self.comparisons if {it.a, it.b} == pair]
            losses = [it.sentence for it in self.not_worse if {it.a, it.b} == pair]
            remarks = tuple(map(Remark, (*differences, *losses, same.sentence)))
            yield Section(title=f"{same.a} and {same.b}", remarks=remarks)

    def to_json(self) -> dict[str, Json]:
        """Return the comparison as JSON. docs/command-line.schema.json has the schema."""
        return {
            "engines": [engine.to_json() for engine in self.engines],
            "comparisons": [pair.to_json() for pair in self.comparisons],
            "non_inferiority": [pair.to_json() for pair in self.not_worse],
            "same_answers": [pair.to_json() for pair in self.same],
            "undecided": self._count(lambda engine: engine.undecided),
            "unjudged": self._count(lambda engine: engine.unjudged),
            "notes": list(self.notes),
        }


def compare_suite(
    collected: Sequence[comparison_rows.EngineValues],
    *,
    reference: str = "",
    margin: float = MARGIN,
    planned: int = 0,
) -> SuiteComparison:
    """Compare engines over the prompts of a suite, by the values of runs: each with the reference; without one, all pairs.

    Times are compared only if the runs of two engines alternated. The p-values of all comparisons over `FEWEST` prompts
    or more are adjusted together by Holm's method: if no engines differ, at most 5% of suites show any difference. With
    fewer pairs, smaller differences can be shown. `margin` is the loss of the pass rate, from 0 to 1, up to which an
    engine counts as not worse. `planned` prompts will be answered in the end; 0 if no further answers will come.

    """
    metrics = comparison_rows.in_order(metric for engine in collected for metric in engine.metrics)
    first = next((it for it in collected if it.engine == reference), None)
    every = (
        combinations(collected, 2) if first is None else ((first, it) for it in collected if it is not first)
    )
    pairs = [(one, other) for one, other in every if one.group is None or one.group != other.group]
    apart = [
        (one, other) for one, other in pairs if not comparison_rows.took_turns(*one.common_starts(other))
    ]
    found = [
        (one, other, metric, paired)
        for one, other in pairs
        for metric in metrics
        if not (metric.timed and (one, other) in apart)
        and (paired := _paired(one, other, metric)) is not None
    ]
    ps = {index: paired.p for index, (*_, paired) in enumerate(found) if paired.prompts >= statistics.FEWEST}
    adjusted = dict(zip(ps, statistics.holm(list(ps.values())), strict=True))
    comparisons = tuple(
        MetricComparison(
            a=one.engine,
            b=other.engine,
            metric=metric,
            paired=paired,
            adjusted_p=adjusted.get(index),
            comparisons=len(adjusted),
            repeated=one.repeated or other.repeated,
        )
        for index, (one, other, metric, paired) in enumerate(found)
    )
    return SuiteComparison(
        engines=collected,
        comparisons=comparisons,
        reference=reference,
        not_worse=non_inferiority(comparisons, margin, planned=planned, both_ways=first is None),
        same=tuple(same for one, other in pairs if (same := _same_answers(one, other)) is not None),
        apart=tuple(
            (one.engine, other.engine) for one, other in apart if one.has_starts and other.has_starts
        ),
    )


def _paired(
    one: comparison_rows.EngineValues, other: comparison_rows.EngineValues, metric: comparison_rows.Metric
) -> statistics.PairedDifference | None:
    prompts_a, a = one.means(metric)
    prompts_b, b = other.means(metric)
    common, in_a, in_b = statistics.np.intersect1d(
        prompts_a, prompts_b, assume_unique=True, return_indices=True
    )
    if not common.size:
        return None
    kind: statistics.PairedKind = "numbers"
    if metric == comparison_rows.PASS_RATE:
        kind = "shares" if one.repeated or other.repeated else "passes"
    return statistics.paired_difference(a[in_a], b[in_b], kind=kind)


def _same_answers(
    one: comparison_rows.EngineValues, other: comparison_rows.EngineValues
) -> SameAnswers | None:
    shares = one.same_shares(other).tolist()
    if not shares:
        return None
    share, sampled = math.fsum(shares) / len(shares), one.sampled or other.sampled
    return SameAnswers(a=one.engine, b=other.engine, prompts=len(shares), share=share, sampled=sampled)


def evidence_of(
    collected: Sequence[comparison_rows.EngineValues],
    reference: str,
    margin: float,
    *,
    checked: int,
    is_complete: bool,
) -> SuiteComparison:
    """Compare the pass rates of the engines with the reference's pass rate, over the prompts that all of them
    answered. `margin` is the largest acceptable loss, from 0 to 1; `checked` the number of prompts whose answers are
    checked. All intervals in `not_worse` hold together."""
    comparison = compare_suite(_on_common_prompts(collected), margin=margin)
    averages = {engine.engine: engine.averages for engine in comparison.engines}
    pass_rate = comparison_rows.PASS_RATE
    rates = {engine: found[pass_rate] for engine, found in averages.items() if pass_rate in found}
    answered = max((prompts for _, prompts in rates.values()), default=0)
    planned = answered if is_complete else max(checked, answered)
    about = [verdict for verdict in comparison.not_worse if verdict.a == reference]
    not_worse = tuple(verdict.as_one_of(len(about), planned) for verdict in about)
    return replace(comparison, not_worse=not_worse, rates=rates, planned=planned)


def _on_common_prompts(
    collected: Sequence[comparison_rows.EngineValues],
) -> tuple[comparison_rows.EngineValues, ...]:
    """Return the values with pass rates and scores only of prompts that all engines answered. An engine that answered
    less than half as many prompts as another engine is excluded and gets no pass rate: otherwise few prompts would be
    common to all engines."""
    answered = {values.engine: set(values.values(comparison_rows.PASS_RATE)) for values in collected}
    enough = max(map(len, answered.values()), default=0) / 2
    sufficient = [prompts for prompts in answered.values() if prompts and len(prompts) >= enough]
    common = set.intersection(*sufficient) if sufficient else set()
    found = []
    for values in collected:
        own = copy.copy(values)
        prompts = answered[values.engine]
        own.left_out = {*values.left_out, *(prompts - common if len(prompts) >= enough else prompts)}
        found.append(own)
    return tuple(found)
