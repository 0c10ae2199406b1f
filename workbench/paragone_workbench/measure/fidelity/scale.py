"""What a mean KL divergence means in words: one scale for the command line, the screen and reports."""

from __future__ import annotations

import math
from dataclasses import dataclass

from paragone_workbench.statistics.estimate import Estimate, number


@dataclass(frozen=True, slots=True, kw_only=True)
class Band:
    """A range of the scale, with a name.

    Attributes:
        name: The name, which is shown beside a figure.
        below: The upper limit of the range in nats.
    """

    name: str
    below: float


SCALE = (
    Band(name="tiny", below=0.01),
    Band(name="small", below=0.05),
    Band(name="noticeable", below=0.2),
    Band(name="large", below=0.5),
    Band(name="another model", below=math.inf),
)
"""The bands, the best first."""


def band_of(kld: float) -> Band:
    """Return the band of a mean KL divergence in nats."""
    return next(band for band in SCALE if kld < band.below)


def kld_text(kld: Estimate) -> str:
    """Return a mean KL divergence with the name of its band, such as `0.250 ± 0.012 (large)`."""
    return f"{number(kld)} ({band_of(kld.value).name})"


def scale_text() -> str:
    """Return the whole scale in one line."""
    parts = [f"{band.name} below {band.below:g}" for band in SCALE if band.below < math.inf]
    return f"{', '.join(parts)}, else {SCALE[-1].name}"
