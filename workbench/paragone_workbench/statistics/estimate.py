"""Values with their uncertainty, and numbers as text for sentences.

The module needs neither numpy nor scipy, so that saved figures can be shown without these packages.
"""

from __future__ import annotations

import math
from typing import NamedTuple


class Estimate(NamedTuple):
    """A value and its standard error, which is None if unknown."""

    value: float
    error: float | None

    def scaled(self, factor: float) -> Estimate:
        """Return the estimate in another unit: value and error times a positive factor."""
        return Estimate(self.value * factor, None if self.error is None else self.error * factor)


def number(estimate: Estimate) -> str:
    """Return a value with its uncertainty as text, without the digits that the uncertainty makes meaningless."""
    if not estimate.error:
        return f"{estimate.value:.3g}"
    digits = max(0, 1 - math.floor(math.log10(estimate.error)))
    return f"{estimate.value:.{digits}f} ± {estimate.error:.{digits}f}"


def decimal(value: float, digits: int) -> str:
    """Return a number with `digits` decimals as text, with a minus sign instead of a hyphen, and 0 instead of −0."""
    return f"{value:z.{digits}f}".replace("-", "−")
