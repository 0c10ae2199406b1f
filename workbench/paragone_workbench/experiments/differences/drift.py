"""Checks whether engines' times are comparable: whether runs alternated, and whether the machine's speed changed."""

from __future__ import annotations

from paragone_workbench.statistics.scientific import Values, np, scipy

_LONGEST = 3.0
"""Largest mean number of consecutive runs of one engine. If two engines take turns in answering first, the mean is 2."""

_FEWEST = 20
"""Smallest number of runs in which a trend is looked for."""

_LEVEL = 0.001
"""The p-value of Spearman's rank correlation with time below which there is a trend."""

_LEAST = 0.05
"""Smallest relative change that is reported."""


def alternate(one: Values, other: Values) -> bool:
    """Return whether two engines took turns, from the starts of their runs in seconds.

    Pass the starts of the prompts and repetitions that both engines answered.

    The speed of a machine changes in the course of minutes: the machine gets warm, and other programs use the cores. If one
    engine answers all prompts before the other begins, such a change looks like a difference between the engines, and no test
    of the values can tell the two apart: with the same file under two names, a difference in speed was "shown" in 9 of
    28 experiments. If the engines take turns, a change affects both.
    """
    times = np.concatenate([one, other])
    whose = np.repeat([0, 1], [one.size, other.size])[np.argsort(times, kind="stable")]
    changes = int(np.count_nonzero(np.diff(whose)))
    return bool(times.size) and times.size / (changes + 1) <= _LONGEST


def drift(rates: Values) -> float | None:
    """Return the relative change of the decode rate from the first third of the runs to the last third.

    `rates` are the rates of the runs, in the order in which the runs began. The change is between the medians of the two
    thirds; None if the rates have no trend in time (Spearman's rank correlation, p < 0.001), or change by less than 5%.
    """
    if rates.size < _FEWEST:
        return None
    if not np.ptp(rates) or scipy.stats.spearmanr(np.arange(rates.size), rates).pvalue >= _LEVEL:
        return None
    third = rates.size // 3
    first, last = float(np.median(rates[:third])), float(np.median(rates[-third:]))
    change = last / first - 1
    return change if abs(change) >= _LEAST else None
