"""How often ratings claim a difference between engines that are equally good."""

import random
from collections.abc import Mapping

from paragone_workbench.compare.ratings import POINTS, rate
from paragone_workbench.store.votes import Vote, VoteChoice, VotedAnswer

__all__ = ["false_claims", "simulated_votes"]


def simulated_votes(
    truth: Mapping[str, float], count: int, rng: random.Random, *, ties: float = 0.2
) -> list[Vote]:
    """Return votes over random pairs of engines with these true ratings."""
    votes = []
    for _ in range(count):
        a, b = rng.sample(sorted(truth), 2)
        p = 1 / (1 + 10 ** ((truth[b] - truth[a]) / POINTS))
        # A tie counts as half a win. Ties replace equally many wins of both engines, so the expected outcome stays p.
        tie = min(ties, 2 * p, 2 * (1 - p))
        drawn = rng.random()
        choice: VoteChoice = "tie" if drawn < tie else 0 if drawn < tie / 2 + p else 1
        votes.append(Vote(candidates=tuple(map(_candidate, (a, b))), choice=choice, blind=True, created=0))
    return votes


def false_claims(engines: int, votes: int, trials: int, *, resamples: int = 1000, seed: int = 0) -> float:
    """Return how often a difference is shown between any two engines, all of which are equally good."""
    rng = random.Random(seed)
    truth = dict.fromkeys("abcdefgh"[:engines], 1000.0)
    found = (
        rate(simulated_votes(truth, votes, rng), resamples=resamples, seed=trial) for trial in range(trials)
    )
    return sum(any(pair.shown for pair in ratings.pairs) for ratings in found) / trials


def _candidate(engine: str) -> VotedAnswer:
    return VotedAnswer(engine=engine, backend="b", model="m", run="r1")
