"""Ratings by votes as a part of a report."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from paragone.wording import counted
from paragone_workbench.compare.ratings.rate import rate
from paragone_workbench.compare.ratings.results import EngineRating
from paragone_workbench.reporting.content import Remark, Section
from paragone_workbench.reporting.drawings import Chart, Figure
from paragone_workbench.reporting.public_text import public
from paragone_workbench.store.experiment_records import Vote

_STEP = 100
"""Rating points to which the ends of the axis are rounded."""


def ratings_sections(votes: Sequence[Vote]) -> Iterator[Section]:
    """Yield the section with the ratings by blind votes; nothing if there are no votes."""
    ratings = rate(votes)
    if not ratings.votes:
        if ratings.unblind:
            remark = Remark(text="No vote was blind, so there is nothing to rate.")
            yield Section(title="Ratings", remarks=(remark,))
        return
    ends = [
        end
        for engine in ratings.engines
        for end in (engine.interval.low, engine.interval.high, engine.rating)
    ]
    chart = Chart(
        title="Rating",
        note=f"By Bradley–Terry, from {counted(ratings.votes, 'blind vote')}. The mean rating of engines that votes connect is 1000.",
        figures=tuple(map(_figure, ratings.engines)),
        start=_STEP * math.floor(min(ends) / _STEP),
        end=_STEP * (math.floor(max(ends) / _STEP) + 1),
        mark="dot",
    )
    pairs = sorted(ratings.pairs, key=lambda pair: not pair.shown)
    yield Section(
        title="Ratings",
        charts=(chart,),
        remarks=(
            *(Remark(text=public(pair.sentence), stands_out=pair.shown) for pair in pairs),
            *(Remark(text=public(note)) for note in ratings.notes),
        ),
    )


def _figure(rating: EngineRating) -> Figure:
    tally, interval = rating.tally, rating.interval
    return Figure(
        name=public(rating.engine),
        value=rating.rating,
        low=interval.low,
        high=interval.high,
        text=f"{rating.rating:.0f}",
        interval=f"{interval.low:.0f} to {interval.high:.0f}",
        count=f"{tally.wins:,} won, {tally.losses:,} lost, {tally.ties + tally.bad:,} tied",
    )
