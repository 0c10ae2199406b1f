"""Statistics of values at the scored positions of a text, each with an uncertainty.

Values have a row for each window and a column for each scored position in the window. The positions of a window depend
on each other, since all belong to one passage of the text. Every uncertainty is therefore the standard error of the windows'
means. All windows have the same number of positions, so the mean of these means is the mean of all positions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from paragone_workbench.statistics.estimate import Estimate
from paragone_workbench.statistics.numeric import Values, np

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEWEST_WINDOWS = 4
"""Number of windows below which the uncertainty is unknown: the standard error of so few windows is mostly chance."""

_FEWEST_POSITIONS = 100
"""Number of positions below which percentiles are unknown."""

DECADES = range(-6, 2)
"""Exponents of the powers of ten, in nats, between which `shares` counts positions."""

_PER_DECADE = 6


def stacked(windows: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """Return the values of windows as one array, with a row for each window."""
    return np.stack(windows) if windows else np.empty((0, 0))


def mean(values: NDArray[Any]) -> Estimate | None:
    """Return the mean of numbers, or the share of true values. None without values."""
    if not values.size:
        return None
    windows = values.mean(axis=1)
    count = len(windows)
    error = float(windows.std(ddof=1)) / math.sqrt(count) if count >= FEWEST_WINDOWS else None
    return Estimate(float(windows.mean()), error)


def perplexity(losses: Values) -> Estimate | None:
    """Return the perplexity e^mean of log-losses in nats. Its uncertainty is e^mean times the uncertainty of the mean."""
    loss = mean(losses)
    if loss is None:
        return None
    value = math.exp(loss.value)
    return Estimate(value, loss.scaled(value).error)


def root_mean_square(values: Values) -> Estimate | None:
    """Return √E[x²]. The uncertainty of √E[x²] is the uncertainty of E[x²] divided by 2·√E[x²]."""
    squares = mean(values**2)
    if squares is None:
        return None
    root = math.sqrt(squares.value)
    return Estimate(root, squares.scaled(1 / (2 * root)).error if root else squares.error)


def percentile(values: Values, fraction: float) -> float | None:
    """Return a percentile by linear interpolation at fraction·(n − 1). None for fewer than 100 values."""
    return float(np.quantile(values, fraction)) if values.size >= _FEWEST_POSITIONS else None


def shares(kld: Values) -> list[float]:
    """Return the share of KL divergences in each sixth of a decade. Values outside of `DECADES` count at the nearest end."""
    first, last = DECADES[0], DECADES[-1]
    edges = np.linspace(first, last, (last - first) * _PER_DECADE + 1)
    logarithms = np.log10(np.clip(kld, 10.0**first, 10.0**last))
    counts, _ = np.histogram(logarithms, edges)
    return [float(count) / max(kld.size, 1) for count in counts]


def ratio_error(many: Values, few: Values) -> float | None:
    """Return the relative standard error of mean(`many`) / mean(`few`). Both means are positive.

    The error is s·√(1/n + 1/m), as in Student's two-sample t-test. The mean of each window is divided by the mean of its
    group; s² is the pooled variance of these ratios, n and m are the numbers of windows. The formula assumes that `many`
    and `few` vary by the same share from window to window, so that `few` may be a single window, from which no variance
    can be estimated.
    """
    if len(many) < FEWEST_WINDOWS:
        return None
    relative = [values.mean(axis=1) / values.mean() for values in (many, few)]
    variance = sum(float(((part - 1) ** 2).sum()) for part in relative) / (len(many) + len(few) - 2)
    return math.sqrt(variance * (1 / len(many) + 1 / len(few)))
