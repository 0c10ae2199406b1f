"""Compute how many paired values show a difference, and which difference a number of values shows.

Both computations are for a two-sided test at 5% with a power of 80%: n = (z₀.₉₇₅ + z₀.₈₀)²·σ²/d², where d is the difference and σ² the
variance of the paired differences. A t-test also estimates σ, for which z₀.₉₇₅²/2 values are added (Guenther 1981).
"""

from __future__ import annotations

import math

from paragone_workbench.statistics.intervals import Z

POWER_Z = 0.841621
"""The 80th percentile of the normal distribution, for a power of 80%."""

_MOST = 1_000_000
"""Largest number of values that is practical to measure."""

_FOR_T = Z**2 / 2


def values_needed(
    variance: float, difference: float, *, z: float = Z, estimates_variance: bool = True
) -> int | None:
    """Return the total number of values that show a difference; None if more than a million are needed.

    `estimates_variance` is True for a t-test, and False for a test of shares. `z` is the quantile for the test's level.
    """
    if not difference:
        return None
    needed = (z + POWER_Z) ** 2 * variance / difference**2 + (_FOR_T if estimates_variance else 0)
    return math.ceil(needed) if needed <= _MOST else None


def smallest_shown(variance: float, count: int) -> float:
    """Return the smallest difference that a t-test shows with `count` values, at least three."""
    return (Z + POWER_Z) * math.sqrt(variance / (count - _FOR_T))


def rounded_up(count: int) -> int:
    """Return a number rounded up to two significant digits, because more digits would suggest a precision that is not there."""
    unit: int = 10 ** max(0, len(str(count)) - 2)
    return math.ceil(count / unit) * unit
