"""Values with their uncertainty, confidence intervals, paired differences and sample sizes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

from paragone import InputError, Json
from paragone.texts import install_command

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["np", "scipy"]  # other modules import them from here, for the message about a missing package

try:
    import numpy as np
    import scipy
except ModuleNotFoundError as error:
    if error.name not in ("numpy", "scipy"):
        raise
    raise InputError(
        f"Intervals and tests need the package {error.name}, which is not installed.",
        hint=f"Install it with: {install_command('fidelity' if error.name == 'numpy' else 'experiments')}",
    ) from error

Values: TypeAlias = "NDArray[np.float64]"


class Estimate(NamedTuple):
    """A value and its standard error, which is None if unknown."""

    value: float
    error: float | None

    def scaled(self, factor: float) -> Estimate:
        return Estimate(self.value * factor, None if self.error is None else self.error * factor)


_ROUNDING = 1e-12
"""If the error is below this share of the value, it comes only from rounding, as for many equal values."""


def number(estimate: Estimate) -> str:
    """Return a value with its uncertainty as text, without the digits that the uncertainty makes meaningless."""
    if not estimate.error or estimate.error < _ROUNDING * abs(estimate.value):
        return f"{estimate.value:.3g}"
    digits = max(0, 1 - math.floor(math.log10(estimate.error)))
    return f"{estimate.value:.{digits}f} ± {estimate.error:.{digits}f}"


def decimal(value: float, digits: int) -> str:
    """Return a number with `digits` decimals as text, with a minus sign instead of a hyphen, and 0 instead of −0."""
    return f"{value:z.{digits}f}".replace("-", "−")


FEWEST = 10
"""Fewest prompts for an interval: fewer do not show how values are distributed."""

Z = 1.959964
"""The 97.5th percentile of the normal distribution: a 95% interval reaches this many standard errors to each side."""

_LEVEL = 0.975


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    low: float
    high: float

    @property
    def contains_zero(self) -> bool:
        return self.low <= 0 <= self.high

    def to_json(self) -> dict[str, Json]:
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

    It assumes a normal distribution after 1 is added to both numbers (Bonett and Price 2012), so that it has a width even
    if both are 0. None below `FEWEST` prompts.
    """
    if count < FEWEST:
        return None
    total = count + 2
    a, b = (only_a + 1) / total, (only_b + 1) / total
    margin = Z * math.sqrt((a + b - (b - a) ** 2) / total)
    return Interval(low=max(-1.0, b - a - margin), high=min(1.0, b - a + margin))


_WIDEST = 1.5
"""The largest factor by which an end of an interval is moved out. For ten values with an outlier, Hall's
transformation can move it by a factor of 4: such intervals are implausible, and hardly hold more often."""


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
    below, above = (max(t, min(end, _WIDEST * t)) for end in (_hall(t, skewness), -_hall(-t, skewness)))
    mean, error = float(array.mean()), float(array.std(ddof=1)) / math.sqrt(count)
    return Interval(low=mean - below * error, high=mean + above * error)


def _hall(t: float, skewness: float) -> float:
    """Return the value of Student's statistic that Hall's transformation maps to t: 3/a·(∛(1 + a·(t − a/6)) − 1).
    `skewness` is a, the skewness of the values divided by the square root of their number."""
    if abs(skewness) < 1e-6:
        return t  # the formula divides by a, and its limit for a → 0 is t
    return 3 / skewness * (math.cbrt(1 + skewness * (t - skewness / 6)) - 1)


PairedKind: TypeAlias = Literal["numbers", "passes", "shares"]
"""The kind of values: any numbers; passes, each of which is 0 or 1; or shares of repetitions that passed."""

LEVEL = 0.05
"""The p-value, after any correction, below which a difference counts as shown."""

_MANY = 1_000
"""Number of prompts above which the t-test replaces the permutation test: both then give nearly the same p-value."""

_RESAMPLES = 9_999
_FEW = 20 / _RESAMPLES
"""The p-value, before any correction, below which the permutation test is too coarse: too few of the random signs are
as extreme as the data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """How the values of two engines, A and B, differ over the prompts for which both engines have a value."""

    prompts: int
    mean_a: float
    mean_b: float
    more_a: int
    more_b: int
    interval: Interval | None
    """The interval of the mean difference; None if `method` is `none`."""
    method: Literal["skewed_t", "bonett_price", "none"]
    """How the interval was computed. `none` for fewer than `FEWEST` prompts, and if the difference is the same for
    all prompts: its variation is then unknown."""
    p: float
    test: Literal["mcnemar", "sign", "permutation", "t"]

    @property
    def difference(self) -> float:
        return self.mean_b - self.mean_a


def paired_difference(
    a: Sequence[float] | Values, b: Sequence[float] | Values, *, kind: PairedKind = "numbers"
) -> PairedDifference:
    """Compare the values of two engines: `a[i]` and `b[i]` belong to the same prompt. At least one prompt is required.

    Passes are tested by McNemar's exact test, shares by the sign test, which is the same test applied to the prompts that
    one engine passed more often. Numbers are tested by a paired permutation test of the mean, which assumes no distribution;
    Wilcoxon's test could contradict the mean, and discards prompts with equal values, which are frequent among
    scores.
    """
    values_a, values_b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    differences = values_b - values_a
    more_a, more_b = int((differences < 0).sum()), int((differences > 0).sum())
    method: Literal["skewed_t", "bonett_price", "none"]
    test: Literal["mcnemar", "sign", "permutation", "t"]
    if kind == "passes":
        interval, method = paired_share_interval(more_a, more_b, differences.size), "bonett_price"
    else:
        interval, method = mean_interval(differences), "skewed_t"
    if kind != "numbers":
        p, test = sign_test(more_a, more_b), "mcnemar" if kind == "passes" else "sign"
    elif differences.size > _MANY:
        p, test = t_test(differences), "t"
    else:
        p, test = _permutation_test(differences), "permutation"
    return PairedDifference(
        prompts=differences.size,
        mean_a=float(values_a.mean()),
        mean_b=float(values_b.mean()),
        more_a=more_a,
        more_b=more_b,
        interval=interval,
        method=method if interval is not None else "none",
        p=p,
        test=test,
    )


def holm(ps: Sequence[float]) -> list[float]:
    """Return p-values adjusted by Holm's step-down method (1979), in the same order. The comparisons may be dependent."""
    adjusted = [0.0] * len(ps)
    largest = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda index: ps[index])):
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = largest
    return adjusted


def t_test(differences: Values) -> float:
    """Return the p-value of Student's paired t-test of the hypothesis that the mean of differences is 0."""
    if not np.ptp(differences):
        return float(not differences[0])
    return float(scipy.stats.ttest_1samp(differences, 0.0).pvalue)


def sign_test(only_a: int, only_b: int) -> float:
    """Return the p-value of the exact binomial test of ½, whose distribution is symmetric: twice the smaller tail.
    `scipy.stats.binomtest` returns the same value but takes 200 times as long, because it allows any share."""
    tail = scipy.special.bdtr(min(only_a, only_b), only_a + only_b, 0.5)
    return min(1.0, 2 * float(tail))


def _permutation_test(differences: Values) -> float:
    """Return the p-value over all signs of the differences, or over `_RESAMPLES` random ones if there are more.

    Random signs cannot give a p-value below 2 / `_RESAMPLES`, and Holm's correction for hundreds of comparisons would raise
    even that above `LEVEL`. Very small p-values therefore come from the t-test.
    SciPy's permutation test shuffles indices and then takes their signs, which is eight times the work.
    """
    changed = differences[differences != 0]  # a difference of 0 has no sign to flip
    if changed.size < 2:
        return 1.0
    if 2**changed.size <= _RESAMPLES:
        exact = scipy.stats.permutation_test(
            (changed,), np.mean, permutation_type="samples", vectorized=True, n_resamples=_RESAMPLES
        )
        return float(exact.pvalue)
    rng = np.random.default_rng(0)
    drawn = scipy.stats.monte_carlo_test(
        changed,
        lambda size: changed * rng.choice((-1.0, 1.0), size),
        np.mean,
        vectorized=True,
        n_resamples=_RESAMPLES,
        batch=max(1, 1_000_000 // changed.size),
    )
    return float(drawn.pvalue) if drawn.pvalue >= _FEW else min(_FEW, t_test(differences))


POWER_Z = 0.841621
"""The 80th percentile of the normal distribution, for a power of 80%."""

_MOST = 1_000_000
"""Largest number of values that is practical to measure."""

_FOR_T = Z**2 / 2


def values_needed(
    variance: float, difference: float, *, z: float = Z, estimates_variance: bool = True
) -> int | None:
    """Return the total number of values that show a difference; None if more than a million are needed.
    `estimates_variance` is True for a t-test, and False for a test of shares. `z` is the quantile for the test's level."""
    if not difference:
        return None
    needed = (z + POWER_Z) ** 2 * variance / difference**2 + (_FOR_T if estimates_variance else 0)
    return math.ceil(needed) if needed <= _MOST else None


def smallest_shown(variance: float, count: int) -> float:
    """Return the smallest difference that a t-test shows with `count` values, at least three."""
    return (Z + POWER_Z) * math.sqrt(variance / (count - _FOR_T))


def rounded_up(count: int) -> int:
    """Return a number rounded up to two significant digits: more digits would suggest a false precision."""
    unit: int = 10 ** max(0, len(str(count)) - 2)
    return math.ceil(count / unit) * unit
