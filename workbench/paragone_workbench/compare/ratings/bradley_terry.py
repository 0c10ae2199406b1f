"""The Bradley–Terry model, fitted to comparisons of pairs of engines.

P(a beats b) = σ(ln 10·(ξa − ξb)). A tie is ½ of a win for each side. The model is a logistic regression; with a Gaussian
prior on ξ, the regression has one finite solution for any votes.

Uncertainty comes from a bootstrap over whole votes, as in FastChat's `rating_systems.py`. Each resample also draws
the centre of the prior anew from the prior (Papandreou and Yuille 2010 sample a posterior in this way). Otherwise,
an engine that won all of its votes would win them in every resample, and its interval would have no width; with the
drawn centres, the interval of an engine with few votes is as wide as the prior.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from paragone_workbench.statistics.scientific import Values, np

POINTS = 400
"""Rating points for a step of 1 in ξ, which multiplies the odds of winning by 10, as in Elo's scale."""

PRIOR_SD = 200
"""Standard deviation of the prior in rating points.

The prior is so wide that the votes decide: the difference of two engines has a standard deviation of 283 points,
odds of 5 to 1, more than versions of a model usually differ by. The prior weighs as much as 1.5 ties between
two engines: the Fisher information of a vote on their difference in ξ is (ln 10)²/4 at most, of the prior
1/(2·(200/400)²).
"""

_SD = PRIOR_SD / POINTS
_CELLS = 200_000
"""Largest number of values of an array: resamples are fitted in blocks whose arrays stay in the processor's cache."""
_TOLERANCE = 1e-6
"""Largest change of a parameter in ξ at which the fit ends: far below the digits that are shown."""


class Pairing(NamedTuple):
    """A comparison of two engines: `outcome` is 1 if the first won, 0 if the second won, and 0.5 for a tie."""

    first: int
    second: int
    outcome: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fit:
    """The parameters: ξ of each engine."""

    best: Values
    """The most probable parameters."""
    samples: Values
    """A row of parameters for each resample."""


def fit(votes: Iterable[tuple[Pairing, ...]], engines: int, *, resamples: int = 1000, seed: int = 0) -> Fit:
    """Fit the model to votes. A vote is one or more comparisons of engines. An engine is given by its index.

    Equal votes are counted and computed once, so the cost hardly depends on the number of votes.
    The most probable ξ of engines that votes connect have the mean 0; the ξ of a sample do not.
    """
    kinds = Counter(votes)
    counts = np.array(list(kinds.values()), np.int64)
    comparisons = [pairing for kind in kinds for pairing in kind]
    kind_of = np.repeat(np.arange(len(kinds)), [len(kind) for kind in kinds])
    model = _Model(comparisons, engines)
    nothing = np.zeros((1, model.size))
    best = model.maximum(counts[kind_of][None].astype(float), nothing, start=nothing)
    rng = np.random.default_rng(seed)
    at_once = max(1, _CELLS // max(1, len(comparisons)))
    samples = []
    for begin in range(0, resamples, at_once):
        number = min(at_once, resamples - begin)
        drawn = rng.multinomial(counts.sum(), counts / counts.sum(), size=number)
        centres = rng.normal(0, _SD, (number, model.size))
        samples.append(model.maximum(drawn[:, kind_of].astype(float), centres, start=best))
    return Fit(best=best[0], samples=np.concatenate(samples))


class _Model:
    """The logistic regression for given comparisons. Weights, and centres of the prior, have a row for each resample."""

    def __init__(self, comparisons: Sequence[Pairing], engines: int) -> None:
        rows = np.arange(len(comparisons))
        self._design = np.zeros((len(comparisons), engines))
        self._design[rows, [pairing.first for pairing in comparisons]] = 1
        self._design[rows, [pairing.second for pairing in comparisons]] = -1
        self._design *= math.log(10)
        self._outcomes = np.array([pairing.outcome for pairing in comparisons])
        self.size = engines
        """Number of parameters."""
        products = self._design[:, :, None] * self._design[:, None, :]
        self._products = products.reshape(len(comparisons), -1)

    def maximum(self, weights: Values, centres: Values, *, start: Values) -> Values:
        """Return the most probable parameters of each resample, by Newton's method with halved steps."""
        parameters = np.broadcast_to(start, centres.shape)
        loss, p = self._evaluate(parameters, weights, centres)
        for _ in range(100):
            gradient = (weights * (p - self._outcomes)) @ self._design + (parameters - centres) / _SD**2
            curvature = ((weights * p * (1 - p)) @ self._products).reshape(-1, self.size, self.size)
            curvature += np.eye(self.size) / _SD**2
            step = np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
            fraction = np.ones((len(step), 1))
            for _ in range(30):
                tried, p = self._evaluate(parameters - fraction * step, weights, centres)
                worse = tried > loss + 1e-9 * np.abs(loss)
                if not worse.any():
                    break
                fraction[worse] /= 2
            parameters = parameters - fraction * step
            loss = tried
            if np.abs(fraction * step).max() < _TOLERANCE:
                break
        return parameters

    def _evaluate(self, parameters: Values, weights: Values, centres: Values) -> tuple[Values, Values]:
        """Return the negative logarithm of the posterior, up to a constant, and the probability of each outcome 1."""
        logits = np.clip(parameters @ self._design.T, -500, 500)  # no overflow in e^x
        odds = np.exp(logits)
        likelihood = (weights * (np.log1p(odds) - self._outcomes * logits)).sum(axis=1)
        loss = likelihood + ((parameters - centres) ** 2).sum(axis=1) / (2 * _SD**2)
        return np.asarray(loss), np.asarray(odds / (1 + odds))
