"""Whether an engine passes assertions not much less often than another: non-inferiority with a margin.

That no difference is shown does not mean that the engines are equal: with few prompts, nothing is shown. Here the
question is turned around: is a loss of more than the margin ruled out?
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from statistics import NormalDist
from typing import Literal

from paragone import Json
from paragone.wording import counted
from paragone_workbench.experiments.differences.compared_metrics import PASS_RATE
from paragone_workbench.experiments.differences.metric_comparison import MetricComparison
from paragone_workbench.statistics.intervals import Interval
from paragone_workbench.statistics.sample_size import rounded_up, values_needed

MARGIN = 0.03
"""The margin by default: 3 points of the pass rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NonInferiority:
    """Whether the engine `b` is worse than the engine `a` by more than a margin, by the prompts that both answered.

    Attributes:
        a: The engine that `b` is measured against.
        b: The engine in question.
        margin: The largest loss that does not matter, as a share.
        difference: The pass rate of `b` minus that of `a`.
        interval: The interval of the difference: with a probability of 95%, those of all `comparisons` hold the true differences at every look.
        prompts: Number of prompts that both answered.
        comparisons: Number of engines about which the same is asked together.
        planned: Number of prompts that both are to answer; 0 if no others are to come.
    """

    a: str
    b: str
    margin: float
    difference: float
    interval: Interval
    prompts: int
    comparisons: int = 1
    planned: int = 0

    @property
    def is_early(self) -> bool:
        """Whether prompts are yet to be answered, so that the verdict is preliminary."""
        return self.planned > self.prompts

    def as_one_of(self, comparisons: int, planned: int) -> NonInferiority:
        """Return the same as one of several comparisons, after `prompts` of the `planned` prompts.

        Its interval is wider. With k engines, a false claim is up to k times as likely, so each has a level of 5%/k (Bonferroni).
        Repeated looks while prompts are added give a false verdict at some time: until all are answered, the interval
        is that of O'Brien and Fleming (1979) for any number of looks. By the reflection principle, a Brownian motion exceeds
        z√t at a time up to 1 with twice the probability of exceeding z at 1; so z is that of half the level, times √(planned/prompts).
        """
        found = replace(self, comparisons=comparisons, planned=planned)
        middle = (self.interval.low + self.interval.high) / 2
        half = (self.interval.high - middle) * found._z / self._z
        return replace(found, interval=Interval(low=max(-1.0, middle - half), high=min(1.0, middle + half)))

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
        """`not worse`: the whole interval is above −margin. `worse`: all of it is below. Else `open`."""
        if self.interval.low > -self.margin:
            return "not worse"
        return "worse" if self.interval.high < -self.margin else "open"

    @property
    def prompts_needed(self) -> int | None:
        """Number of prompts, in all, that give a verdict with a probability of 80% if the difference stays as it is.

        n = (z + z₀.₈₀)² σ² / (d + margin)², where z is z₀.₉₇₅ for one comparison, d is the middle of the interval, and σ², the variance of the
        difference at one prompt, is estimated from the width of the interval. None if the number is above a million.
        """
        distance = abs((self.interval.low + self.interval.high) / 2 + self.margin)
        variance = ((self.interval.high - self.interval.low) / (2 * self._z)) ** 2 * self.prompts
        return values_needed(variance, distance, z=self._last_z, estimates_variance=False)

    @property
    def more_prompts(self) -> int | None:
        """About how many more prompts would give a verdict, to two digits, at least one; None if that is not known.

        The number that is needed is of the last look. With the wider intervals of a look before, it may be reached.
        """
        return None if self.prompts_needed is None else rounded_up(max(1, self.prompts_needed - self.prompts))

    @property
    def sentence(self) -> str:
        """The verdict in plain words."""
        claim = f"worse than {self.a} by more than {PASS_RATE.shown(self.margin)} points"
        match self.verdict:
            case "not worse":
                low = self.interval.low
                amount = f"{PASS_RATE.shown(abs(low))} points {'less' if low < 0 else 'more'} often"
                return f"{self.b} is not {claim}: at worst, {self.b} passes {amount}."
            case "worse":
                return f"{self.b} is {claim}."
        if self.more_prompts is None:
            return f"Whether {self.b} is {claim} is open, and more prompts hardly settle this."
        return f"Whether {self.b} is {claim} is open. About {counted(self.more_prompts, 'more prompt')} would settle this."

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON. Rates are shares, not points."""
        return {
            "a": self.a,
            "b": self.b,
            "margin": self.margin,
            "difference": self.difference,
            "interval": self.interval.to_json(),
            "prompts": self.prompts,
            "verdict": self.verdict,
            "prompts_needed": self.prompts_needed if self.verdict == "open" else None,
            "sentence": self.sentence,
        }


def prompts_for(margin: float, comparisons: int) -> int:
    """Return the smallest number of prompts that can rule out a loss of this margin: if all engines pass and fail alike.

    With n such prompts, the half width of the interval is z√2/(n + 2): see `paired_share_interval`.
    """
    return math.floor(_quantile(0.05 / comparisons) * math.sqrt(2) / margin - 2) + 1


def _quantile(level: float) -> float:
    """Return the z of a two-sided test at this level."""
    return NormalDist().inv_cdf(1 - level / 2)


def non_inferiority(comparisons: Iterable[MetricComparison], margin: float) -> Iterator[NonInferiority]:
    """Yield both directions of each pair of engines whose pass rates are compared, if their difference has an interval."""
    for pair in comparisons:
        interval = pair.paired.interval
        if pair.metric != PASS_RATE or interval is None:
            continue
        turned = Interval(low=-interval.high, high=-interval.low)
        for a, b, difference, own in (
            (pair.a, pair.b, pair.paired.difference, interval),
            (pair.b, pair.a, -pair.paired.difference, turned),
        ):
            yield NonInferiority(
                a=a,
                b=b,
                margin=margin,
                difference=difference,
                interval=own,
                prompts=pair.paired.prompts,
            )
