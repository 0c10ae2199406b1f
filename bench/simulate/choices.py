"""How often repeated looks at the data call an engine not worse although it loses as much as the margin."""

from collections.abc import Callable, Iterator, Mapping

import numpy as np

from paragone_workbench.choosing.decision import FEWEST_PROMPTS
from paragone_workbench.experiments.comparison import NonInferiority
from paragone_workbench.statistics import paired_share_interval

__all__ = ["RULES", "false_claims"]

_LOOKS = 10
"""Number of looks at the data, after equal numbers of further prompts."""

RULES: Mapping[str, Callable[[NonInferiority, int, int], NonInferiority]] = {
    "as if each were the only look": lambda one, candidates, planned: one,
    "as `choose` decides": lambda one, candidates, planned: one.as_one_of(candidates, planned),
}
"""Rules that adjust a verdict to the numbers of candidates and of planned prompts, by their names in the table."""


def false_claims(
    candidates: int, *, rule: str, prompts: int, margin: float, wins: float, trials: int, seed: int = 0
) -> float:
    """Return how often at least one candidate is called not worse at any look.

    Each candidate loses exactly the margin: the candidate alone passes the share `wins` of the prompts, the reference alone
    passes the share `margin + wins`. The candidates are independent, which is the worst case.
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
    """Yield the verdict on every candidate at every look."""
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
