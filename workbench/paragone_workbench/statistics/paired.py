"""Differences between two engines over the same prompts, from paired data.

The data are the differences per prompt: both engines answered each prompt, so a hard or long prompt is hard or long for
both. Repetitions of a prompt are averaged first, and do not count as further prompts.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from paragone_workbench.statistics.intervals import Interval, mean_interval, paired_share_interval
from paragone_workbench.statistics.scientific import Values, np, scipy

PairedKind: TypeAlias = Literal["numbers", "passes", "shares"]
"""The kind of values: any numbers; passes, each of which is 0 or 1; or shares of repetitions that passed."""

LEVEL = 0.05
"""The p-value, after any correction, below which a difference counts as shown."""

_MANY = 1_000
"""Number of prompts above which the t-test replaces the permutation test: both then give nearly the same p-value."""

_RESAMPLES = 9_999


@dataclass(frozen=True, slots=True, kw_only=True)
class PairedDifference:
    """How the values of two engines, A and B, differ over the prompts for which both engines have a value."""

    prompts: int
    """Number of prompts."""
    mean_a: float
    """Mean value of A."""
    mean_b: float
    """Mean value of B."""
    more_a: int
    """Number of prompts at which A's value is larger."""
    more_b: int
    """Number of prompts at which B's value is larger."""
    interval: Interval | None
    """The interval of the mean difference; None if `method` is `none`."""
    method: Literal["skewed_t", "bonett_price", "none"]
    """How the interval was computed. `none` for fewer than `FEWEST` prompts, and if the difference is the same for all
    prompts, which does not show how much differences vary."""
    p: float
    """The p-value, before any correction for several comparisons."""
    test: Literal["mcnemar", "sign", "permutation", "t"]
    """The test that gave `p`."""

    @property
    def difference(self) -> float:
        """The mean of B − A."""
        return self.mean_b - self.mean_a


def paired_difference(
    a: Sequence[float] | Values, b: Sequence[float] | Values, *, kind: PairedKind = "numbers"
) -> PairedDifference:
    """Compare the values of two engines, where `a[i]` and `b[i]` belong to the same prompt.

    Passes are tested by McNemar's exact test: if the engines do not differ, a prompt that only one engine passed is equally
    likely to be A's or B's. Shares are tested by the sign test, which is the same test of the prompts that one engine
    passed more often.

    Numbers are tested by a paired permutation test of the mean: if the engines do not differ, the sign of each
    prompt's difference is a coin toss. The permutation test tests the mean, which is also reported, and assumes no
    distribution. Wilcoxon's test would test the median of ranks, could contradict the mean, and discards prompts at which
    both values are equal, as scores often are. Above 1,000 prompts the paired t-test is used.

    Raises ValueError if there is no prompt, or `a` and `b` have different lengths.
    """
    if len(a) != len(b) or not len(a):
        raise ValueError("paired values must be of the same prompts, and of at least one prompt")
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
        p, test = _sign_test(more_a, more_b), "mcnemar" if kind == "passes" else "sign"
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
    """Return p-values adjusted by Holm's step-down method (1979), in the same order.

    If all comparisons with an adjusted p-value up to α are claimed to be differences, the probability of at least one
    false claim is at most α, whether the comparisons depend on each other or not.
    """
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


def _sign_test(only_a: int, only_b: int) -> float:
    """Return the p-value of the exact binomial test of ½, whose distribution is symmetric: twice the smaller tail.

    `scipy.stats.binomtest` returns the same in 200 times as long, because it searches the other tail for any share.
    """
    tail = scipy.special.bdtr(min(only_a, only_b), only_a + only_b, 0.5)
    return min(1.0, 2 * float(tail))


def _permutation_test(differences: Values) -> float:
    """Return the p-value over all signs of the differences, or over `_RESAMPLES` random ones if there are more.

    SciPy's permutation test would shuffle indices, of which it then takes the signs: eight times the work.
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
    return float(drawn.pvalue)
