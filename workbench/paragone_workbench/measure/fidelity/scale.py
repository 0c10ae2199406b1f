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
        meaning: At how many positions the likeliest token differs, by the measurements in docs/fidelity.md.
    """

    name: str
    below: float
    meaning: str


SCALE = (
    Band(name="tiny", below=0.01, meaning="at most about one in twenty"),
    Band(name="small", below=0.05, meaning="one in twenty to one in eight"),
    Band(name="noticeable", below=0.2, meaning="one in eight to one in four"),
    Band(name="large", below=0.5, meaning="one in four to about two in five"),
    Band(name="another model", below=math.inf, meaning="more than about two in five"),
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
