"""Votes as contests of two engines each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from itertools import combinations

from paragone import Json
from paragone_workbench.store.experiment_records import Vote, VoteChoice


@dataclass(frozen=True, slots=True, kw_only=True)
class Contest:
    """The comparison of two candidates of different engines in a vote.

    `first` and `second` are the names of the engines. `outcome` is 1 if the first won, 0 if the second won, and 0.5
    for a tie; `bad` says that both candidates of a tie were bad.
    """

    first: str
    second: str
    outcome: float
    bad: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How the contests of one engine ended."""

    wins: int = 0
    losses: int = 0
    ties: int = 0
    bad: int = 0
    """Number of contests in which both candidates were bad. `ties` does not include these contests."""

    @property
    def contests(self) -> int:
        """Number of contests."""
        return self.wins + self.losses + self.ties + self.bad

    @property
    def win_rate(self) -> float:
        """The wins and half of all ties (`ties` and `bad`), as a share of the contests."""
        return (self.wins + (self.ties + self.bad) / 2) / self.contests

    def to_json(self) -> dict[str, Json]:
        """Return the counts, and the win rate."""
        return {**asdict(self), "win_rate": self.win_rate}


def contests(vote: Vote) -> Iterator[Contest]:
    """Yield the contests of a vote.

    The best candidate won against all others; a vote says nothing about how the others compare with each other. The choices
    `tie` and `bad` are a tie of all candidates. Candidates of the same engine have no contest.
    """
    numbered = enumerate(vote.candidates)
    for (place, first), (other_place, second) in combinations(numbered, 2):
        outcome = _outcome(vote.choice, place, other_place)
        if outcome is not None and first.engine != second.engine:
            yield Contest(first=first.engine, second=second.engine, outcome=outcome, bad=vote.choice == "bad")


def tally(engine: str, found: Iterable[Contest]) -> Tally:
    """Return how the contests of this engine ended. Contests of other engines are skipped."""
    wins = losses = ties = bad = 0
    for contest in found:
        if engine not in (contest.first, contest.second):
            continue
        own = contest.outcome if contest.first == engine else 1 - contest.outcome
        wins += own == 1
        losses += own == 0
        ties += own == 0.5 and not contest.bad
        bad += contest.bad
    return Tally(wins=wins, losses=losses, ties=ties, bad=bad)


def _outcome(choice: VoteChoice, first: int, second: int) -> float | None:
    if isinstance(choice, str):
        return 0.5
    return {first: 1.0, second: 0.0}.get(choice)
