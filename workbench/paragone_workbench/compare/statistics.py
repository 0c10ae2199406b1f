"""Statistics of values at the scored positions of a text, each with its uncertainty.

The formulas are those of llama.cpp's tools/perplexity/perplexity.cpp, which makes the figures comparable.
An uncertainty is one standard deviation, and assumes that positions are independent.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeAlias

from paragone_workbench.compare.estimate import Estimate
from paragone_workbench.compare.numeric import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "Values",
    "log_perplexity_ratio",
    "mean",
    "percentile",
    "perplexity",
    "root_mean_square",
    "share",
]

Values: TypeAlias = "NDArray[np.float64]"

_FEWEST = 100
"""Number of values below which a percentile says nothing."""

_FEWEST_FOR_ERROR = 11
"""Number of values below which the uncertainty of a mean is given as 0."""


def mean(values: Values) -> Estimate | None:
    """Return the mean. Its uncertainty is √((E[x²] − E[x]²)/(n − 1)). None without values."""
    if not values.size:
        return None
    return Estimate(float(values.mean()), math.sqrt(_covariance(values, values)))


def perplexity(losses: Values) -> Estimate | None:
    """Return the perplexity e^mean of log-losses in nats."""
    loss = mean(losses)
    return None if loss is None else Estimate(math.exp(loss.value), math.exp(loss.value) * loss.error)


def log_perplexity_ratio(candidate: Values, reference: Values) -> Estimate | None:
    """Return ln(PPL of the candidate / PPL of the reference), from their log-losses at the same positions.

    The uncertainty √(σq² + σp² − 2·c) uses the covariance c: most of what makes a text hard is the same
    for both.
    """
    q, p = mean(candidate), mean(reference)
    if q is None or p is None:
        return None
    variance = q.error**2 + p.error**2 - 2 * _covariance(candidate, reference)
    return Estimate(q.value - p.value, math.sqrt(max(variance, 0.0)))


def root_mean_square(values: Values) -> Estimate | None:
    """Return √E[x²]. Its uncertainty is σ(x²)/(2·√E[x²])."""
    squares = mean(values**2)
    if squares is None:
        return None
    root = math.sqrt(squares.value)
    return Estimate(root, squares.error / (2 * root) if root else 0.0)


def share(held: NDArray[np.bool_]) -> Estimate | None:
    """Return the share of positions at which something holds. Its uncertainty is √(p·(1 − p)/(n − 1))."""
    if not held.size:
        return None
    p = float(held.mean())
    return Estimate(p, math.sqrt(p * (1 - p) / (held.size - 1)) if held.size > 1 else 0.0)


def percentile(values: Values, fraction: float) -> float | None:
    """Return a percentile by linear interpolation at fraction·(n − 1). None for fewer than 100 values."""
    return float(np.quantile(values, fraction)) if values.size >= _FEWEST else None


def _covariance(one: Values, other: Values) -> float:
    """Return the covariance of two means."""
    if one.size < _FEWEST_FOR_ERROR:
        return 0.0
    return float(((one - one.mean()) * (other - other.mean())).mean()) / (one.size - 1)
