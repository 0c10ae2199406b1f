"""Whether an engine passes assertions at most a little less often than another: non-inferiority with a margin.

A comparison that shows no difference does not show that the engines are equal: a comparison over few prompts shows
nothing. The question here is therefore: do the runs rule out a loss of more than the margin?
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
"""The default margin: 3 points of the pass rate."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NonInferiority:
    """Whether the engine `b` is worse than the engine `a` by more than a margin, over the prompts that both answered.

    Attributes:
        a: The reference, with which `b` is compared.
        b: The engine that may be worse.
        margin: The largest acceptable loss of the pass rate, from 0 to 1.
        difference: The pass rate of `b` minus that of `a`.
        interval: The interval of the difference. With a probability of 95%, the intervals of all `comparisons` contain
            the true differences at every interim look.
        prompts: Number of prompts that both engines answered.
        comparisons: Number of comparisons that are made together.
        planned: Number of prompts that both engines will have answered in the end; 0 if no further answers will come.
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
        """Whether planned prompts are not answered yet, so that the verdict is preliminary."""
        return self.planned > self.prompts

    def as_one_of(self, comparisons: int, planned: int) -> NonInferiority:
        """Return this comparison as one of several, after `prompts` of the `planned` prompts, with a wider interval.

        With k comparisons, a false claim is up to k times as likely, so each comparison has a level of 5%/k (Bonferroni).
        Repeated looks at growing data give a false verdict sooner or later, so until all prompts are answered, the
        interval is that of O'Brien and Fleming (1979) for any number of looks. By the reflection principle, a Brownian
        motion exceeds z at some time up to 1 with twice the probability of exceeding z at the time 1. The interval
        therefore has z/√t standard errors on each side, where z belongs to half the level, and t is prompts/planned.
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
        """`not worse`: the whole interval is above −margin. `worse`: the whole interval is below −margin. Else `open`."""
        if self.interval.low > -self.margin:
            return "not worse"
        return "worse" if self.interval.high < -self.margin else "open"

    @property
    def prompts_needed(self) -> int | None:
        """Total number of prompts that give a verdict with a probability of 80% if the difference stays the same.

        n = (z + z₀.₈₀)² σ² / (d + margin)², where z is z₀.₉₇₅ for one comparison, d is the middle of the interval, and σ², the
        variance of the difference at one prompt, is estimated from the width of the interval. None above a million prompts.
        """
        distance = abs((self.interval.low + self.interval.high) / 2 + self.margin)
        variance = ((self.interval.high - self.interval.low) / (2 * self._z)) ** 2 * self.prompts
        return values_needed(variance, distance, z=self._last_z, estimates_variance=False)

    @property
    def more_prompts(self) -> int | None:
        """Estimated number of further prompts until a verdict, rounded to two digits, at least 1; None if unknown.

        At least 1, because `prompts_needed` is for the last look: an earlier look with that number of prompts has a wider
        interval and may give no verdict.
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
    """Return the smallest number of prompts that can rule out a loss of this margin, if all engines pass and fail alike.

    With n such prompts, the half width of the interval is z√2/(n + 2): see `paired_share_interval`.
    """
    return math.floor(_quantile(0.05 / comparisons) * math.sqrt(2) / margin - 2) + 1


def _quantile(level: float) -> float:
    """Return the number of standard errors z of a two-sided test at this level."""
    return NormalDist().inv_cdf(1 - level / 2)


def non_inferiority(comparisons: Iterable[MetricComparison], margin: float) -> Iterator[NonInferiority]:
    """Yield, for each pair of engines with an interval for the difference in pass rates, a verdict on each engine."""
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
