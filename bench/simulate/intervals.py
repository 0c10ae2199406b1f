"""How often the intervals of differences between two engines, and of means, contain the true value."""

from collections.abc import Callable, Mapping

import numpy as np
import scipy

from paragone_workbench.statistics import Values, mean_interval, paired_share_interval

__all__ = ["NUMBERS", "PASSES", "numbers_coverage", "passes_coverage"]

PASSES: Mapping[str, tuple[float, float]] = {
    "both pass half of the prompts, 50% differ": (0.25, 0.25),
    "both pass alike, 20% differ": (0.1, 0.1),
    "both pass nearly always, 4% differ": (0.02, 0.02),
    "B passes 10 points more often, 20% differ": (0.05, 0.15),
    "A passes always, B 90%": (0.1, 0.0),
    "B passes 28 points more often": (0.02, 0.3),
}
"""Cases of pass or fail: the probabilities that A alone passes a prompt, and that B alone does."""


def passes_coverage(prompts: int, only_a: float, only_b: float) -> float:
    """Return how often the interval contains the difference in pass rate: exactly, by a sum over all outcomes."""
    held = 0.0
    for a in range(prompts + 1):
        both = [(a, b) for b in range(prompts + 1 - a)]
        chances = scipy.stats.multinomial.pmf(
            [(a, b, prompts - a - b) for a, b in both], prompts, (only_a, only_b, 1 - only_a - only_b)
        )
        for (a_only, b_only), chance in zip(both, chances, strict=True):
            interval = paired_share_interval(a_only, b_only, prompts)
            if interval.low - 1e-9 <= only_b - only_a <= interval.high + 1e-9:
                held += float(chance)
    return held


def _lengths(shape: tuple[int, int], rng: np.random.Generator, longer: float = 1.15) -> Values:
    """Return differences in tokens between the answers of two engines, which have at most 512 tokens."""
    of_prompt = rng.normal(5, 0.7, shape)
    a, b = (np.exp(of_prompt + rng.normal(0, 0.4, shape)) * factor for factor in (1, longer))
    return np.minimum(512, np.round(b)) - np.minimum(512, np.round(a))


def _mostly_same(shape: tuple[int, int], rng: np.random.Generator) -> Values:
    return np.where(rng.random(shape) < 0.6, 0, _lengths(shape, rng, 1.0))


def _times(
    shape: tuple[int, int], rng: np.random.Generator, spread: float = 0.5, slower: float = 1.0
) -> Values:
    """Return differences in seconds between two engines, in proportion to the work of each prompt."""
    work = np.exp(rng.normal(0, spread, shape))
    a, b = (work * np.exp(rng.normal(0, 0.1, shape)) * factor for factor in (1, slower))
    return b - a


NUMBERS: Mapping[str, Callable[[tuple[int, int], np.random.Generator], Values]] = {
    "lengths, B's 15% longer": _lengths,
    "lengths, 60% of the answers the same": _mostly_same,
    "times, equal": _times,
    "times, B 30% slower": lambda shape, rng: _times(shape, rng, slower=1.3),
    "times of very unlike prompts, B 30% slower": lambda shape, rng: _times(shape, rng, 0.8, 1.3),
    "shares of 5 repetitions that passed": lambda shape, rng: (
        (rng.binomial(5, chance := rng.beta(2, 1, shape)) - rng.binomial(5, chance)) / 5
    ),
    "mean time of one engine": lambda shape, rng: np.exp(rng.normal(0, 0.5, shape)),
    "mean length of one engine": lambda shape, rng: np.minimum(512, np.exp(rng.normal(5, 0.8, shape))),
}
"""Cases of numbers: differences between two engines, or values of one engine. Each function draws rows of prompts."""


def numbers_coverage(case: str, prompts: int, trials: int, *, seed: int = 0) -> float:
    """Return how often the interval contains the true mean, which is that of a million values."""
    rng = np.random.default_rng(seed)
    truth = float(NUMBERS[case]((1, 1_000_000), rng).mean())
    intervals = [mean_interval(values) for values in NUMBERS[case]((trials, prompts), rng)]
    return sum(found is not None and found.low <= truth <= found.high for found in intervals) / trials
