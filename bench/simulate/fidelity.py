"""How often the intervals of a fidelity measurement hold, if the positions of a window depend on each other."""

import functools
import itertools
import math

import numpy as np
from numpy.typing import NDArray

from paragone_workbench.measure.distances import mean, mean_error, ratio_error
from paragone_workbench.measure.fidelity import noise_windows
from paragone_workbench.measure.fidelity_verdict import CLEAR, depths
from paragone_workbench.statistics import Values, Z, holm, t_interval, t_test, values_needed

__all__ = [
    "POSITIONS",
    "above_noise",
    "conversation_coverage",
    "coverage",
    "depth_claims",
    "pair_claims",
    "pair_coverage",
    "power",
    "windows",
]

POSITIONS = 255
_PASSAGE, _POSITION = 0.21, 0.92
"""Standard deviations of the logarithm of a KL divergence: between windows, and within them.

The values are those of a quantization of SmolLM2 with a mean divergence of 0.15 nats: the positions vary by 120% of the
mean, the means of windows by 23%. So a standard error with windows as units is three times as large as with positions.
"""

_OWN = 0.12
"""Standard deviation, relative to the mean, of the part of a window's mean that two candidates do not share."""

_RESAMPLES = 1_000
"""Number of samples of a bootstrap."""


def windows(count: int, rng: np.random.Generator, *, mean: float = 0.15) -> Values:
    """Return KL divergences in nats with the expectation `mean`: a row for each window, a column for each position."""
    spread = rng.normal(0, _PASSAGE, (count, 1)) + rng.normal(0, _POSITION, (count, POSITIONS))
    return mean * np.exp(spread - (_PASSAGE**2 + _POSITION**2) / 2)


@functools.cache  # two rows of the table come from one computation
def coverage(count: int, trials: int, *, seed: int = 0) -> tuple[float, float]:
    """Return how often the 95% interval contains the mean: with windows as units, and with positions as units."""
    rng = np.random.default_rng(seed)
    by_windows = by_positions = 0
    for _ in range(trials):
        values = windows(count, rng, mean=1)
        found = mean(values)
        interval = t_interval(found.value, found.error, count)
        by_windows += interval.low <= 1 <= interval.high
        by_positions += abs(found.value - 1) <= Z * mean_error(values)
    return by_windows / trials, by_positions / trials


_LENGTH, _LENGTHS = 60, 0.9
"""Median number of tokens of a conversation's answers, and the standard deviation of its logarithm."""


def conversation_coverage(count: int, trials: int, *, seed: int = 0) -> float:
    """Return how often the 95% interval contains the mean over the positions of conversations of unlike lengths."""
    rng = np.random.default_rng(seed)
    found = 0
    for _ in range(trials):
        lengths = np.clip(_LENGTH * np.exp(rng.normal(0, _LENGTHS, count)), 3, 600).astype(int)
        passages = rng.normal(0, _PASSAGE, count) - (_PASSAGE**2 + _POSITION**2) / 2
        values = mean(
            np.exp(passage + rng.normal(0, _POSITION, length))
            for passage, length in zip(passages, lengths, strict=True)
        )
        interval = t_interval(values.value, values.error, count)
        found += interval.low <= 1 <= interval.high
    return found / trials


def above_noise(count: int, trials: int, *, times: float = 1, seed: int = 0) -> float:
    """Return how often a mean KLD that is `times` the noise floor is found to be above the noise floor.

    The noise is measured in as many of the `count` windows as in a real measurement.
    """
    rng = np.random.default_rng(seed)
    found = 0
    for _ in range(trials):
        candidate, noise = windows(count, rng, mean=times), windows(len(noise_windows(count)), rng, mean=1)
        ratio = math.log(candidate.mean() / noise.mean())
        found += ratio > CLEAR * ratio_error(candidate, noise)
    return found / trials


def _pairs(shape: tuple[int, int], rng: np.random.Generator, apart: float) -> NDArray[np.float64]:
    """Return differences between the windows' means of two candidates, a row for each measurement.

    The second candidate's divergence is larger by the share `apart`. A passage that is hard for one candidate is hard for both.
    """
    passage = np.exp(rng.normal(0, _PASSAGE, shape) - _PASSAGE**2 / 2)
    a, b = (passage * times * np.exp(rng.normal(0, _OWN, shape) - _OWN**2 / 2) for times in (1, 1 + apart))
    return b - a


@functools.cache  # two rows of the table come from one computation
def pair_coverage(count: int, trials: int, *, apart: float = 1.0, seed: int = 0) -> tuple[float, float]:
    """Return how often 95% intervals contain a paired difference: Student's t, and a percentile bootstrap."""
    rng = np.random.default_rng(seed)
    by_t = by_bootstrap = 0
    for differences in _pairs((trials, count), rng, apart):
        interval = t_interval(
            float(differences.mean()), float(differences.std(ddof=1)) / math.sqrt(count), count
        )
        by_t += interval.low <= apart <= interval.high
        means = differences[rng.integers(0, count, (_RESAMPLES, count))].mean(axis=1)
        low, high = np.quantile(means, (0.025, 0.975))
        by_bootstrap += low <= apart <= high
    return by_t / trials, by_bootstrap / trials


def pair_claims(count: int, trials: int, *, candidates: int, seed: int = 0) -> float:
    """Return how often a difference is claimed between any two candidates that are equally close to the reference."""
    rng = np.random.default_rng(seed)
    found = 0
    for _ in range(trials):
        passage = np.exp(rng.normal(0, _PASSAGE, count))
        means = [passage * np.exp(rng.normal(0, _OWN, count)) for _ in range(candidates)]
        found += min(holm([t_test(b - a) for a, b in itertools.combinations(means, 2)])) < 0.05
    return found / trials


def power(count: int, trials: int, *, apart: float = 0.1, seed: int = 0) -> float:
    """Return how often a difference is shown with the number of windows that a measurement of `count` windows recommends.

    The recommendation aims at 80%, and is computed from the median variance of measurements with `count` windows.
    """
    rng = np.random.default_rng(seed)
    variances = _pairs((trials, count), rng, apart).var(axis=1, ddof=1)
    needed = values_needed(float(np.median(variances)), apart)
    assert needed is not None
    return float(np.mean([t_test(row) < 0.05 for row in _pairs((trials, needed), rng, apart)]))


def depth_claims(count: int, trials: int, *, growth: float = 0.0, seed: int = 0) -> float:
    """Return how often a divergence that is larger by `growth` at the end of windows is found to grow with the depth."""
    rng = np.random.default_rng(seed)
    slope = 1 + growth * np.linspace(0, 1, POSITIONS)
    found = 0
    for _ in range(trials):
        found += depths([windows(count, rng) * slope], 2 * POSITIONS + 2)[0]["grows"] is True
    return found / trials
