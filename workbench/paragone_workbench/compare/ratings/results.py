"""The results of a rating: figures, JSON and sentences."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from paragone import Json
from paragone.wording import counted
from paragone_workbench.compare.ratings.contests import Tally
from paragone_workbench.compare.ratings.position_bias import PositionBias
from paragone_workbench.statistics.estimate import decimal
from paragone_workbench.statistics.intervals import Interval

MEAN = 1000
"""The mean of the ratings of engines that votes connect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRating:
    """The rating of an engine, and the results of its contests."""

    engine: str
    models: tuple[str, ...]
    """The models of the engine, as `BACKEND:MODEL`; several if its definition was changed between votes."""
    rating: float
    """The rating; comparable only within the engine's group in `Ratings.groups`."""
    interval: Interval
    tally: Tally
    """The results of the engine's contests with other engines."""

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON."""
        fields = asdict(self)
        del fields["tally"]
        return {**fields, "contests": self.tally.contests, **self.tally.to_json()}


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedPair:
    """Two engines of one group."""

    a: str
    """The engine with the higher rating."""
    b: str
    difference: float
    """The rating of A minus the rating of B, in points."""
    shown_difference: int
    """The difference of the two ratings as they are shown, rounded to whole points."""
    interval: Interval
    """The interval of the difference. The intervals of all pairs hold together with a probability of 95%."""
    tally: Tally
    """The results of the contests between A and B, from A's side."""
    pairs: int
    """Number of all compared pairs, for which the interval is corrected."""

    @property
    def shown(self) -> bool:
        """Whether the votes show a difference. If all engines are equally good, at most 5% of ratings show a difference."""
        return not self.interval.contains_zero

    @property
    def sentence(self) -> str:
        """The result in plain words."""
        low, high = (decimal(value, 0) for value in (self.interval.low, self.interval.high))
        corrected = f" after correction for {self.pairs:,} pairs" if self.pairs > 1 else ""
        interval = f"(95% interval {low} to {high}{corrected})"
        chance = "" if self.shown else ", which may be chance"
        return f"{self.a} is rated above {self.b} by {self.shown_difference} points{chance} {interval}."

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON."""
        return {
            "a": self.a,
            "b": self.b,
            "difference": self.difference,
            "interval": self.interval.to_json(),
            "shown": self.shown,
            "contests": self.tally.contests,
            "wins_a": self.tally.wins,
            "wins_b": self.tally.losses,
            "ties": self.tally.ties,
            "bad": self.tally.bad,
            "sentence": self.sentence,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratings:
    """Ratings, and figures about the votes."""

    engines: tuple[EngineRating, ...]
    """Highest rating first."""
    pairs: tuple[RatedPair, ...]
    """All pairs of engines whose ratings can be compared."""
    groups: tuple[tuple[str, ...], ...]
    """Engines that votes connect, directly or through other engines. Ratings of different groups cannot be compared."""
    votes: int
    """Number of votes that the ratings use."""
    ties: int
    """Number of used votes with the choice `tie`."""
    bad: int
    """Number of used votes with the choice `bad`."""
    unblind: int
    """Number of votes that were not blind, used or not."""
    named: int
    """Number of votes in which an answer names its engine or model, used or not, but without those that were not blind
    unless these are used."""
    one_engine: int
    """Number of votes on answers of a single engine, which are not used."""
    includes_unblind: bool
    """Whether the ratings use votes that were not blind."""
    includes_named: bool
    """Whether the ratings use votes in which an answer names its engine or model."""
    position: PositionBias | None
    """How often the first of the shown answers won; None without a blind vote for a best answer."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences that a reader of the ratings must know."""
        notes = []
        if self.unblind and self.includes_unblind:
            notes.append(
                f"{counted(self.unblind, 'vote is', 'votes are')} counted, though the names of the engines were shown."
            )
        elif self.unblind:
            notes.append(
                f"{counted(self.unblind, 'vote is', 'votes are')} left out: the names of the engines were shown. --all includes them."
            )
        if self.named:
            votes = counted(self.named, "vote is", "votes are")
            notes.append(
                f"{votes} counted, though an answer names its engine or model. --without-named excludes them."
                if self.includes_named
                else f"{votes} left out: an answer names its engine or model."
            )
        if self.one_engine:
            notes.append(
                f"{counted(self.one_engine, 'vote is', 'votes are')} left out: all answers were of the same engine."
            )
        if len(self.groups) > 1:
            named = "; ".join(", ".join(members) for members in self.groups)
            notes.append(
                "No vote connects these groups of engines, so ratings can be compared within a group only: "
                f"{named}."
            )
        notes += [
            f"{engine.engine} had several models, whose votes are rated together: {', '.join(engine.models)}."
            for engine in self.engines
            if len(engine.models) > 1
        ]
        if self.position is not None:
            notes.append(self.position.sentence)
        return tuple(notes)

    def to_json(self) -> dict[str, Json]:
        """Return the fields as JSON. docs/command-line.schema.json has the schema."""
        return {
            **asdict(self),
            "engines": [engine.to_json() for engine in self.engines],
            "pairs": [pair.to_json() for pair in self.pairs],
            "position": self.position.to_json() if self.position is not None else None,
            "notes": self.notes,
        }
