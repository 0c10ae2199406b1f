"""How the KL divergences of two candidates differ, from paired data: both were measured over the same windows.

A passage that is hard for one candidate is hard for the other too, so the difference varies less than either divergence.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from paragone import Json
from paragone.wire import to_json
from paragone.wording import counted
from paragone_workbench.measure.fidelity.measured import Candidate
from paragone_workbench.measure.fidelity.positions import FEWEST_WINDOWS
from paragone_workbench.statistics.intervals import Interval, t_interval
from paragone_workbench.statistics.paired import LEVEL, holm, t_test
from paragone_workbench.statistics.sample_size import rounded_up, smallest_shown, values_needed


@dataclass(frozen=True, slots=True, kw_only=True)
class KldPair:
    """A comparison of the KL divergences of two candidates.

    Attributes:
        a: The name of the first candidate.
        b: The name of the second candidate.
        windows: Number of windows over which both were measured.
        difference: The mean KLD of `b` minus that of `a`, in nats.
        interval: The 95% interval of the difference, by Student's t over the windows' differences.
        adjusted_p: The p-value of the t-test over the windows, after Holm's correction for all pairs.
        windows_needed: Total number of windows that show the difference with a probability of 80% if the difference
            stays the same; None if the difference is shown, or if the number is above a million.
        smallest_shown: The smallest difference that these windows show with a probability of 80%, in nats.
    """

    a: str
    b: str
    windows: int
    difference: float
    interval: Interval
    adjusted_p: float
    windows_needed: int | None
    smallest_shown: float

    @property
    def shown(self) -> bool:
        """Whether the data show a difference."""
        return self.adjusted_p < LEVEL

    @property
    def sentence(self) -> str:
        """The result in words."""
        interval = f"95% interval {self.interval.low:+.2g} to {self.interval.high:+.2g}".replace("-", "−")
        if self.shown:
            closer, other = (self.a, self.b) if self.difference > 0 else (self.b, self.a)
            if self.difference < 0:
                low, high = -self.interval.high, -self.interval.low
                interval = f"95% interval {low:+.2g} to {high:+.2g}".replace("-", "−")
            return f"{closer} is closer than {other}: by {abs(self.difference):.2g} nats ({interval})."
        start = f"Whether {self.a} or {self.b} is closer is open ({interval}; {self.smallest_shown:.2g} nats would be shown)."
        if self.windows_needed is None:
            return f"{start} More text hardly settles this."
        more = rounded_up(max(1, self.windows_needed - self.windows))
        return f"{start} About {counted(more, 'more window')} would settle this."

    def to_json(self) -> dict[str, Json]:
        """Return the fields, and the values that are computed from the fields."""
        return {**to_json(self, complete=True), "shown": self.shown, "sentence": self.sentence}


def kld_pairs(candidates: Sequence[Candidate]) -> tuple[KldPair, ...]:
    """Compare each pair of candidates that have enough windows in common and differ in at least one common window."""
    found = [pair for a, b in itertools.combinations(candidates, 2) if (pair := _pair(a, b)) is not None]
    adjusted = holm([pair.adjusted_p for pair in found])
    return tuple(
        _with_need(dataclasses.replace(pair, adjusted_p=p)) for pair, p in zip(found, adjusted, strict=True)
    )


def _pair(a: Candidate, b: Candidate) -> KldPair | None:
    """Compare two candidates, with the p-value before any correction.

    None if the candidates have too few windows in common, or do not differ in any of these windows.
    """
    count = min(a.difference.windows, b.difference.windows)
    if count < FEWEST_WINDOWS:
        return None
    differences = b.difference.kld[:count].mean(axis=1) - a.difference.kld[:count].mean(axis=1)
    if not differences.any():
        return None
    difference, deviation = float(differences.mean()), float(differences.std(ddof=1))
    return KldPair(
        a=a.name,
        b=b.name,
        windows=count,
        difference=difference,
        interval=t_interval(difference, deviation / math.sqrt(count), count),
        adjusted_p=t_test(differences),
        windows_needed=values_needed(deviation**2, abs(difference)),
        smallest_shown=smallest_shown(deviation**2, count),
    )


def _with_need(pair: KldPair) -> KldPair:
    return dataclasses.replace(pair, windows_needed=None) if pair.shown else pair


def neighbours(pairs: Sequence[KldPair], candidates: Sequence[Candidate]) -> tuple[KldPair, ...]:
    """Return the pairs of candidates that are neighbours in the order of the mean KLD.

    If neighbours differ, candidates that are further apart in this order differ too.
    """
    means = {
        candidate.name: float(candidate.difference.kld.mean())
        for candidate in candidates
        if candidate.difference.windows
    }
    order = sorted(means, key=lambda name: means[name])
    ranks = {name: rank for rank, name in enumerate(order)}
    found = [pair for pair in pairs if abs(ranks[pair.a] - ranks[pair.b]) == 1]
    return tuple(sorted(found, key=lambda pair: min(ranks[pair.a], ranks[pair.b])))
