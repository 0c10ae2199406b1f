"""Whether the times of engines can be trusted: whether their runs alternated, and whether the machine changed its speed."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

from paragone_workbench.statistics.scientific import np, stats

_LONGEST = 3.0
"""Longest mean stretch of runs of one engine. If each prompt begins with another of two engines, it is 2."""

_FEWEST = 20
"""Fewest runs in which a trend is looked for."""

_LEVEL = 0.001
"""The p-value of Spearman's rank correlation with time below which there is a trend."""

_LEAST = 0.05
"""Smallest relative change that matters."""


def alternate(one: Mapping[tuple[int, int], float], other: Mapping[tuple[int, int], float]) -> bool:
    """Return whether two engines took turns, from the times at which their runs began, by prompt and repetition.

    Only runs of a prompt and repetition that both answered count.

    A machine becomes slower and faster in the course of minutes: it gets warm, and other programs use it. If one engine
    answers all prompts before the other begins, such a change looks like a difference between the engines, and no test
    of the values can tell: with the same file under two names, a difference in speed was "shown" in 9 of 28
    experiments. If the engines take turns, a change affects both.
    """
    common = one.keys() & other.keys()
    order = sorted([(one[key], 0) for key in common] + [(other[key], 1) for key in common])
    changes = sum(before[1] != after[1] for before, after in itertools.pairwise(order))
    return bool(order) and len(order) / (changes + 1) <= _LONGEST


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
