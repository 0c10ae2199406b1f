"""How often a choice calls an engine not worse that loses as much as the margin, if one looks again and again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from paragone_workbench.choosing.decision import FEWEST_PROMPTS
from paragone_workbench.experiments.differences.non_inferiority import NonInferiority
from paragone_workbench.statistics.intervals import paired_share_interval

__all__ = ["RULES", "false_claims"]

_LOOKS = 10
"""Looks at the data, at equal distances."""

RULES: Mapping[str, Callable[[NonInferiority, int, int], NonInferiority]] = {
    "as if each were the only look": lambda one, candidates, planned: one,
    "as `choose` decides": lambda one, candidates, planned: one.as_one_of(candidates, planned),
}
"""Rules for the interval, by what they assume, for a number of candidates and of planned prompts."""


def false_claims(
    candidates: int, *, rule: str, prompts: int, margin: float, wins: float, trials: int, seed: int = 0
) -> float:
    """Return how often, at any look, any candidate is called not worse.

    Each loses exactly the margin: it alone passes a share of `wins` of the prompts, the reference alone margin + wins. The
    candidates are independent, which is the worst case.
    """
    rng = np.random.default_rng(seed)
    claimed = 0
    for _ in range(trials):
        drawn = rng.random((candidates, prompts))
        lost = (drawn < margin + wins).cumsum(axis=1)
        won = ((drawn >= margin + wins) & (drawn < margin + 2 * wins)).cumsum(axis=1)
        claimed += any(
            RULES[rule](verdict, candidates, prompts).verdict == "not worse"
            for verdict in _looks(lost, won, prompts, margin)
        )
    return claimed / trials


def _looks(lost: np.ndarray, won: np.ndarray, prompts: int, margin: float) -> Iterator[NonInferiority]:
    """Yield every candidate at every look."""
    for look in range(1, _LOOKS + 1):
        count = prompts * look // _LOOKS
        if count < FEWEST_PROMPTS:
            continue
        for only_a, only_b in zip(lost[:, count - 1].tolist(), won[:, count - 1].tolist(), strict=True):
            interval = paired_share_interval(only_a, only_b, count)
            assert interval is not None, "there are enough prompts"
            yield NonInferiority(
                a="reference",
                b="candidate",
                margin=margin,
                difference=(only_b - only_a) / count,
                interval=interval,
                prompts=count,
            )
