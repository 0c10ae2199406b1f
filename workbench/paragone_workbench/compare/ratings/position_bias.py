"""Position bias: whether a voter prefers the answer that is shown first."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass

from paragone import Json
from paragone.wording import counted
from paragone_workbench.statistics.intervals import Interval, share_interval
from paragone_workbench.store.experiment_records import Vote


@dataclass(frozen=True, slots=True, kw_only=True)
class PositionBias:
    """How often the first of the shown answers won, among the blind votes with a best answer."""

    votes: int
    """Number of the blind votes with a best answer."""
    first: int
    """Number of the votes that the first answer won."""
    interval: Interval
    """Wilson's 95% interval of the share of votes that the first answer won."""
    expected: float
    """The share without a bias: ½ for votes on two answers, less for votes on more answers."""

    @property
    def share(self) -> float:
        """The share of the votes that the first answer won."""
        return self.first / self.votes

    @property
    def sentence(self) -> str:
        """The result in plain words."""
        low, high = self.interval.low, self.interval.high
        found = (
            f"The answer shown first won {self.share:.1%} of {counted(self.votes, 'blind vote')} with a best answer "
            f"(95% interval {100 * low:.1f} to {100 * high:.1f}), where {self.expected:.1%} are expected"
        )
        if low <= self.expected <= high:
            return f"{found}: no position bias is shown."
        return f"{found}: the votes have a position bias."

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON."""
        return {**asdict(self), "share": self.share}


def position_bias(votes: Iterable[Vote]) -> PositionBias | None:
    """Return the position bias of the blind votes among `votes`; None if no blind vote has a best answer."""
    decided = [vote for vote in votes if vote.blind and isinstance(vote.choice, int)]
    if not decided:
        return None
    first = sum(vote.choice == 0 for vote in decided)
    return PositionBias(
        votes=len(decided),
        first=first,
        interval=share_interval(first / len(decided), len(decided)),
        expected=sum(1 / len(vote.candidates) for vote in decided) / len(decided),
    )
