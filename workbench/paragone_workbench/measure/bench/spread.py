"""Summaries of values: mean and standard deviation, or mean and percentiles."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from paragone_workbench.runs.metrics import percentile


@dataclass(frozen=True, slots=True)
class Spread:
    """The mean and the standard deviation of some values."""

    mean: float
    stdev: float
    """The standard deviation of a sample (divided by n − 1), as llama-bench reports it; 0 for one value."""

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread | None:
        if not values:
            return None
        return cls(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else 0.0)


@dataclass(frozen=True, slots=True)
class Distribution:
    """The mean, the median and the high percentiles of some values."""

    mean: float
    p50: float
    p95: float
    p99: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Distribution | None:
        if not values:
            return None
        ordered = sorted(values)
        return cls(statistics.fmean(ordered), *(percentile(ordered, percent) for percent in (50, 95, 99)))
