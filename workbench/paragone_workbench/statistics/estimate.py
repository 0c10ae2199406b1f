"""Values with their uncertainty, and how numbers are written in sentences.

The module needs no package, so that saved figures can be shown without one.
"""

from __future__ import annotations

import math
from typing import NamedTuple


class Estimate(NamedTuple):
    """A value and its standard error, which is None if it is unknown."""

    value: float
    error: float | None

    def scaled(self, factor: float) -> Estimate:
        """Return both in another unit: multiplied by a positive factor."""
        return Estimate(self.value * factor, None if self.error is None else self.error * factor)


def number(estimate: Estimate) -> str:
    """Return a value with its uncertainty, without the digits that the uncertainty makes meaningless."""
    if not estimate.error:
        return f"{estimate.value:.3g}"
    digits = max(0, 1 - math.floor(math.log10(estimate.error)))
    return f"{estimate.value:.{digits}f} ± {estimate.error:.{digits}f}"


def decimal(value: float, digits: int) -> str:
    """Return a number with these many decimals. A negative one has a minus sign, not a hyphen; there is no −0."""
    return f"{value:z.{digits}f}".replace("-", "−")
