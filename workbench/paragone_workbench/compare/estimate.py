"""A value with its uncertainty. It needs no package, so that saved figures can be shown without one."""

from __future__ import annotations

import math
from typing import NamedTuple

__all__ = ["Estimate", "number"]


class Estimate(NamedTuple):
    """A value and its uncertainty."""

    value: float
    error: float


def number(estimate: Estimate) -> str:
    """Return a value with its uncertainty: as many digits as the uncertainty leaves meaning to."""
    if not estimate.error:
        return f"{estimate.value:.3g}"
    digits = max(0, 1 - math.floor(math.log10(estimate.error)))
    return f"{estimate.value:.{digits}f} ± {estimate.error:.{digits}f}"
