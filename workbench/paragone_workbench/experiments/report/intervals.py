"""Intervals of an engine's own figures: a mean over prompts, and a share of prompts."""

from __future__ import annotations

import math
from collections.abc import Sequence

from paragone_workbench.compare.paired import FEWEST, Interval
from paragone_workbench.compare.scientific import np, stats

__all__ = ["mean_interval", "share_interval"]

_RESAMPLES = 1_999
_Z = 1.959964
"""The 97.5th percentile of the normal distribution."""


def mean_interval(values: Sequence[float]) -> Interval | None:
    """Return the 95% percentile bootstrap interval of a mean; None below `FEWEST` values, or if all are equal.

    Times are skewed, so that an interval by Student's t could begin below 0.
    """
    array = np.asarray(values, np.float64)
    if array.size < FEWEST or not np.ptp(array):
        return None
    found = stats.bootstrap(
        (array,),
        np.mean,
        n_resamples=_RESAMPLES,
        batch=max(1, 1_000_000 // array.size),  # bounds the memory
        method="percentile",
        rng=np.random.default_rng(0),
    ).confidence_interval
    return Interval(low=float(found.low), high=float(found.high))


def share_interval(share: float, count: int) -> Interval:
    """Return the 95% interval of a share of `count` prompts by Wilson's score method (1927)."""
    spread = _Z * math.sqrt(share * (1 - share) / count + (_Z / (2 * count)) ** 2)
    middle, scale = share + _Z**2 / (2 * count), 1 + _Z**2 / count
    return Interval(low=max(0.0, (middle - spread) / scale), high=min(1.0, (middle + spread) / scale))
