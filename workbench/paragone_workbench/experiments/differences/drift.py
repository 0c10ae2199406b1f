"""Whether the machine became slower or faster while an engine answered."""

from __future__ import annotations

from collections.abc import Sequence

from paragone_workbench.statistics.scientific import np, stats

__all__ = ["drift"]

_FEWEST = 20
"""Number of runs below which nothing can be told."""

_LEVEL = 0.001
"""The p-value of Spearman's rank correlation with time below which there is a trend."""

_LEAST = 0.05
"""Smallest relative change that matters."""


def drift(rates: Sequence[tuple[float, float]]) -> float | None:
    """Return how much a rate changed from the first third of the runs to the last, relative to the first.

    `rates` are the times at which runs began, and their rates. Both thirds are represented by their medians. None if
    the rates have no trend in time (Spearman's rank correlation, p < 0.001), or change by less than 5%.
    """
    if len(rates) < _FEWEST:
        return None
    values = np.array([rate for _, rate in sorted(rates)])
    if not np.ptp(values) or stats.spearmanr(np.arange(values.size), values).pvalue >= _LEVEL:
        return None
    third = values.size // 3
    first, last = float(np.median(values[:third])), float(np.median(values[-third:]))
    change = last / first - 1
    return change if abs(change) >= _LEAST else None
