"""How KL divergences are distributed over orders of magnitude."""

from __future__ import annotations

from paragone_workbench.measure.fidelity.positions import Values
from paragone_workbench.statistics.numeric import np

__all__ = ["DECADES", "shares"]

DECADES = range(-6, 2)
"""Powers of ten, in nats, between which positions are counted."""

_PER_DECADE = 6


def shares(kld: Values) -> list[float]:
    """Return the share of positions in each sixth of a decade; what lies outside counts as the nearest."""
    first, last = DECADES[0], DECADES[-1]
    edges = np.linspace(first, last, (last - first) * _PER_DECADE + 1)
    logarithms = np.log10(np.clip(kld, 10.0**first, 10.0**last))
    counts, _ = np.histogram(logarithms, edges)
    return [float(count) / max(kld.size, 1) for count in counts]
