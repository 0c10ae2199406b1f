"""95% confidence intervals: of means by bootstrap, of shares by Wilson's score method."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from paragone import Json
from paragone_workbench.compare.scientific import np, stats

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["FEWEST", "Z", "Interval", "bootstrap", "mean_interval", "share_interval"]

Values: TypeAlias = "NDArray[np.float64]"

FEWEST = 10
"""Number of prompts below which there is no interval: bootstrap intervals of so few values are much too narrow."""

Z = 1.959964
"""The 97.5th percentile of the normal distribution: standard errors on each side of a 95% interval."""

_RESAMPLES = 1_999


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A 95% confidence interval."""

    low: float
    high: float

    @property
    def contains_zero(self) -> bool:
        """Whether no difference is one of the values in the interval."""
        return self.low <= 0 <= self.high

    def to_json(self) -> dict[str, Json]:
        """Return both ends."""
        return {"low": self.low, "high": self.high}


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Return the percentile bootstrap interval of a mean; None below `FEWEST` values, or if all are equal.

    Times are skewed, so that an interval by Student's t could begin below 0.
    """
    array = np.asarray(values, np.float64)
    if array.size < FEWEST or not np.ptp(array):
        return None
    return bootstrap(array, "percentile", _RESAMPLES, seed=0)


def share_interval(share: float, count: int) -> Interval:
    """Return the interval of a share of `count` prompts or votes by Wilson's score method (1927)."""
    spread = Z * math.sqrt(share * (1 - share) / count + (Z / (2 * count)) ** 2)
    middle, scale = share + Z**2 / (2 * count), 1 + Z**2 / count
    return Interval(low=max(0.0, (middle - spread) / scale), high=min(1.0, (middle + spread) / scale))


def bootstrap(values: Values, method: Literal["BCa", "percentile"], resamples: int, *, seed: int) -> Interval:
    """Return the bootstrap interval of a mean. With BCa (Efron 1987), its ends are NaN where that is undefined."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # BCa of extreme values is NaN, which the caller checks
        found = stats.bootstrap(
            (values,),
            np.mean,
            n_resamples=resamples,
            batch=max(1, 1_000_000 // values.size),  # bounds the memory
            method=method,
            rng=np.random.default_rng(seed),
        ).confidence_interval
    return Interval(low=float(found.low), high=float(found.high))
