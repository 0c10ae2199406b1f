"""95% confidence intervals of means and of shares."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from paragone import Json
from paragone_workbench.statistics.scientific import Values, np, scipy

FEWEST = 10
"""Number of prompts below which no interval is computed: fewer prompts do not show how values are distributed."""

Z = 1.959964
"""The 97.5th percentile of the normal distribution: a 95% interval reaches this many standard errors to each side."""

_LEVEL = 0.975


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A 95% confidence interval."""

    low: float
    high: float

    @property
    def contains_zero(self) -> bool:
        """Whether the interval contains 0, so that there may be no difference."""
        return self.low <= 0 <= self.high

    def to_json(self) -> dict[str, Json]:
        """Return both ends of the interval."""
        return {"low": self.low, "high": self.high}


def t_interval(mean: float, error: float, count: int) -> Interval:
    """Return the interval of a mean of `count` values, whose standard error is `error`, by Student's t (1908)."""
    margin = float(scipy.special.stdtrit(count - 1, _LEVEL)) * error
    return Interval(low=mean - margin, high=mean + margin)


def share_interval(share: float, count: int) -> Interval:
    """Return the interval of a share of `count` prompts or votes by Wilson's score method (1927)."""
    spread = Z * math.sqrt(share * (1 - share) / count + (Z / (2 * count)) ** 2)
    middle, scale = share + Z**2 / (2 * count), 1 + Z**2 / count
    return Interval(low=max(0.0, (middle - spread) / scale), high=min(1.0, (middle + spread) / scale))


def paired_share_interval(only_a: int, only_b: int, count: int) -> Interval | None:
    """Return the interval of the difference, B − A, of the shares of `count` prompts that two engines passed.

    `only_a` is the number of prompts that only A passed, `only_b` the number of prompts that only B passed. The interval
    assumes a normal distribution after 1 is added to both numbers (Bonett and Price 2012), so that the interval has a width
    even if both numbers are 0. None below `FEWEST` prompts.
    """
    if count < FEWEST:
        return None
    total = count + 2
    a, b = (only_a + 1) / total, (only_b + 1) / total
    margin = Z * math.sqrt((a + b - (b - a) ** 2) / total)
    return Interval(low=max(-1.0, b - a - margin), high=min(1.0, b - a + margin))


def mean_interval(values: Sequence[float] | Values) -> Interval | None:
    """Return the interval of a mean; None below `FEWEST` values, or if all values are equal.

    The interval is Student's t interval, widened at an end where Hall's (1992) transformation of t lies further out. The
    widening corrects for the skewness of the values: a mean of few durations varies more upwards than downwards. For
    values that are not skewed, the transformation alone would give too narrow an interval.
    """
    array = np.asarray(values, np.float64)
    if array.size < FEWEST or not np.ptp(array):
        return None
    count = array.size
    t = float(scipy.special.stdtrit(count - 1, _LEVEL))
    skewness = float(scipy.stats.skew(array, bias=False)) / math.sqrt(count)
    below, above = max(t, _hall(t, skewness)), max(t, -_hall(-t, skewness))
    mean, error = float(array.mean()), float(array.std(ddof=1)) / math.sqrt(count)
    return Interval(low=mean - below * error, high=mean + above * error)


def _hall(t: float, skewness: float) -> float:
    """Return the value of Student's statistic that Hall's transformation maps to t: 3/a·(∛(1 + a·(t − a/6)) − 1).

    `skewness` is a, the skewness of the values divided by the square root of their number.
    """
    if abs(skewness) < 1e-6:
        return t  # the formula divides by a, and its limit for a → 0 is t
    return 3 / skewness * (math.cbrt(1 + skewness * (t - skewness / 6)) - 1)
