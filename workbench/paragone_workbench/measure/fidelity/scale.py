"""What a mean KL divergence means in words: one scale for the command line, the screen and reports."""

from __future__ import annotations

import math

from paragone_workbench.statistics.estimate import Estimate, number

SCALE = {"tiny": 0.01, "small": 0.05, "noticeable": 0.2, "large": 0.5, "another model": math.inf}
"""The bands of the scale by their names, each with its upper limit in nats, the best first."""


def band_of(kld: float) -> str:
    """Return the name of the band of a mean KL divergence in nats."""
    return next(name for name, limit in SCALE.items() if kld < limit)


def kld_text(kld: Estimate) -> str:
    """Return a mean KL divergence with the name of its band, such as `0.250 ± 0.012 (large)`."""
    return f"{number(kld)} ({band_of(kld.value)})"


def scale_text() -> str:
    """Return the whole scale in one line."""
    *bands, last = SCALE
    return f"{', '.join(f'{name} below {SCALE[name]:g}' for name in bands)}, else {last}"
