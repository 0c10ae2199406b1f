"""Rates engines from votes by the Bradley–Terry model, with intervals and position bias."""

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations, pairwise
from typing import NamedTuple

from paragone import Json
from paragone.json_values import text_at
from paragone.texts import counted
from paragone_workbench.blocks import Axis, Figure, Remark, Section, chart, public
from paragone_workbench.statistics import Interval, Values, decimal, np, share_interval
from paragone_workbench.store.votes import Vote

POINTS = 400
"""Rating points for a step of 1 in ξ, which multiplies the odds of winning by 10, as in Elo's scale."""

PRIOR_SD = 200
"""Standard deviation of the prior in rating points, so wide that the votes decide.

A difference of two engines has a standard deviation of 283 points in the prior, odds of 5 to 1. The prior weighs as
much as 1.5 ties: its Fisher information is 1/(2·(200/400)²), that of a vote on a difference in ξ is at most (ln 10)²/4.

"""

_SD = PRIOR_SD / POINTS
_CELLS = 200_000
"""Largest number of values of an array: resamples are fitted in blocks whose arrays fit in the processor's cache."""
_TOLERANCE = 1e-6
"""The fit ends when no parameter changes by more than this, in ξ: far below the digits that are shown."""


class Contest(NamedTuple):
    """The comparison of two engines in a vote, whose names are in alphabetical order. `outcome` is 1 if the first won, 0
    if the second won, and 0.5 for a tie; `bad` says that both answers of a tie were bad."""

    first: str
    second: str
    outcome: float
    bad: bool = False


def fit(
    votes: Iterable[tuple[Contest, ...]], engines: Sequence[str], *, resamples: int = 1000, seed: int = 0
) -> tuple[Values, Values]:
    """Fit the model to votes, each a list of contests. Return the best ξ, and a row of ξ for each resample.

    Equal votes are computed once. The most probable ξ of engines that votes connect have the mean 0; the ξ of a sample
    do not.

    """
    kinds = Counter(votes)
    counts = np.array(list(kinds.values()), np.int64)
    comparisons = [contest for kind in kinds for contest in kind]
    kind_of = np.repeat(np.arange(len(kinds)), [len(kind) for kind in kinds])
    design = np.zeros((len(comparisons), len(engines)))
    for row, contest in enumerate(comparisons):
        design[row, engines.index(contest.first)] = math.log(10)
        design[row, engines.index(contest.second)] = -math.log(10)
    outcomes = np.array([contest.outcome for contest in comparisons])
    nothing = np.zeros((1, len(engines)))
    best = _maximum(design, outcomes, counts[kind_of][None].astype(float), nothing, start=nothing)
    rng = np.random.default_rng(seed)
    at_once = max(1, _CELLS // max(1, len(comparisons)))
    samples = []
    for begin in range(0, resamples, at_once):
        number = min(at_once, resamples - begin)
        drawn = rng.multinomial(counts.sum(), counts / counts.sum(), size=number)
        centres = rng.normal(0, _SD, (number, len(engines)))
        samples.append(_maximum(design, outcomes, drawn[:, kind_of].astype(float), centres, start=best))
    return best[0], np.concatenate(samples)


def _maximum(design: Values, outcomes: Values, weights: Values, centres: Values, *, start: Values) -> Values:
    """Return the most probable parameters of the logistic regression, by Newton's method with halved steps. Weights of
    the comparisons, and centres of the prior, have a row for each resample."""

    def evaluate(parameters: Values) -> tuple[Values, Values]:
        """Return the negative logarithm of the posterior, up to a constant, and the probability of each outcome 1."""
        logits = np.clip(parameters @ design.T, -500, 500)  # avoids an overflow of e^x
        odds = np.exp(logits)
        likelihood = (weights * (np.log1p(odds) - outcomes * logits)).sum(axis=1)
        loss = likelihood + ((parameters - centres) ** 2).sum(axis=1) / (2 * _SD**2)
        return np.asarray(loss), np.asarray(odds / (1 + odds))

    size = design.shape[1]
    products = (design[:, :, None] * design[:, None, :]).reshape(len(design), -1)
    parameters = np.broadcast_to(start, centres.shape)
    loss, p = evaluate(parameters)
    for _ in range(100):
        gradient = (weights * (p - outcomes)) @ design + (parameters - centres) / _SD**2
        curvature = ((weights * p * (1 - p)) @ products).reshape(-1, size, size) + np.eye(size) / _SD**2
        step = np.linalg.solve(curvature, gradient[:, :, None])[:, :, 0]
        fraction = np.ones((len(step), 1))
        for _ in range(30):
            tried, p = evaluate(parameters - fraction * step)
            worse = tried > loss + 1e-9 * np.abs(loss)
            if not worse.any():
                break
            fraction[worse] /= 2
        parameters = parameters - fraction * step
        loss = tried
        if np.abs(fraction * step).max() < _TOLERANCE:
            break
    return parameters


def contests(vote: Vote) -> tuple[Contest, ...]:
    """Return the contests of a vote in a fixed order: the best candidate won against all others, or all tie. Candidates
    of the same engine have no contest."""
    found = []
    for (place, one), (other_place, other) in combinations(enumerate(vote.candidates), 2):
        outcome = 0.5 if isinstance(vote.choice, str) else {place: 1.0, other_place: 0.0}.get(vote.choice)
        if outcome is None or one.engine == other.engine:
            continue
        bad = vote.choice == "bad"
        if one.engine < other.engine:
            found.append(Contest(one.engine, other.engine, outcome, bad))
        else:
            found.append(Contest(other.engine, one.engine, 1 - outcome, bad))
    return tuple(sorted(found))


def tally(engine: str, found: Iterable[Contest]) -> dict[str, int]:
    """Return the number of an engine's `wins`, `losses` and `ties`, and of contests in which both candidates were `bad`."""
    counts = dict.fromkeys(("wins", "losses", "ties", "bad"), 0)
    for contest in found:
        if engine in (contest.first, contest.second):
            own = contest.outcome if contest.first == engine else 1 - contest.outcome
            counts["bad" if contest.bad else {1.0: "wins", 0.0: "losses"}.get(own, "ties")] += 1
    return counts


def win_rate(counts: Mapping[str, int]) -> float:
    return (counts["wins"] + (counts["ties"] + counts["bad"]) / 2) / sum(counts.values())


FEWEST_FOR_BIAS = 20
"""Fewest blind votes for a verdict on position bias. With fewer, chance can hide or imitate a large bias: without any
bias, the answer shown first wins the first four votes in one of sixteen cases."""


def position_bias(votes: Iterable[Vote]) -> dict[str, Json] | None:
    """Return how often the answer shown first won, among the blind votes with a best answer; None without such votes.
    `expected` is the share without a bias: ½ for votes on two answers, less for votes on more answers."""
    decided = [vote for vote in votes if vote.blind and isinstance(vote.choice, int)]
    if not decided:
        return None
    first, count = sum(vote.choice == 0 for vote in decided), len(decided)
    share, interval = first / count, share_interval(first / count, count)
    expected = sum(1 / len(vote.candidates) for vote in decided) / count
    if count < FEWEST_FOR_BIAS:
        verdict = "too few votes to show whether the position matters"
    elif interval.low <= expected <= interval.high:
        verdict = "no position bias is shown"
    else:
        verdict = "the votes have a position bias"
    message = (
        f"The answer shown first won {share:.1%} of {counted(count, 'blind vote')} with a best answer (95% interval "
        f"{100 * interval.low:.1f} to {100 * interval.high:.1f}), where {expected:.1%} are expected: {verdict}."
    )
    figures = {"votes": count, "first": first, "share": share, "expected": expected}
    return {**figures, "interval": interval.to_json(), "sentence": message}


MEAN = 1000

_STEP = 100
"""The ends of a chart's axis are multiples of this number of rating points."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineRating:
    engine: str
    models: tuple[str, ...]
    """The models of the engine, as `BACKEND:MODEL`; several if its definition changed between votes."""
    rating: float
    """The rating, comparable only within the engine's group in `Ratings.groups`."""
    interval: Interval
    tally: Mapping[str, int]

    def to_json(self) -> dict[str, Json]:
        fields = asdict(self)
        counts = fields.pop("tally")
        return {**fields, **counts, "contests": sum(counts.values()), "win_rate": win_rate(counts)}


@dataclass(frozen=True, slots=True, kw_only=True)
class RatedPair:
    a: str
    b: str
    difference: float
    shown_difference: int
    """The difference of the two ratings as they are shown, rounded to whole points."""
    interval: Interval
    """The interval of the difference. All intervals contain the true differences together with a probability of 95%."""
    tally: Mapping[str, int]
    pairs: int
    """Number of all compared pairs; the interval is corrected for this number."""

    @property
    def shown(self) -> bool:
        """Whether the votes show a difference. If all engines are equally good, at most 5% of ratings show one."""
        return not self.interval.contains_zero

    @property
    def sentence(self) -> str:
        low, high = (decimal(value, 0) for value in (self.interval.low, self.interval.high))
        corrected = f" after correction for {self.pairs:,} pairs" if self.pairs > 1 else ""
        interval = f"(95% interval {low} to {high}{corrected})"
        chance = "" if self.shown else ", which may be chance"
        return f"{self.a} is rated above {self.b} by {self.shown_difference} points{chance} {interval}."

    def to_json(self) -> dict[str, Json]:
        return {
            "a": self.a,
            "b": self.b,
            "difference": self.difference,
            "interval": self.interval.to_json(),
            "shown": self.shown,
            "contests": sum(self.tally.values()),
            "wins_a": self.tally["wins"],
            "wins_b": self.tally["losses"],
            "ties": self.tally["ties"],
            "bad": self.tally["bad"],
            "sentence": self.sentence,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratings:
    engines: tuple[EngineRating, ...]
    pairs: tuple[RatedPair, ...]
    groups: tuple[tuple[str, ...], ...]
    """Engines that votes connect, directly or through other engines. Ratings of different groups cannot be compared."""
    votes: int
    ties: int
    bad: int
    unblind: int
    """Number of votes that were not blind, used or not."""
    named: int
    """Number of votes in which an answer names its engine or model, used or not. Votes that were not blind count only
    if they are used."""
    one_engine: int
    """Number of votes on answers of a single engine, which are not used."""
    includes_unblind: bool
    includes_named: bool
    position: Mapping[str, Json] | None

    @property
    def notes(self) -> tuple[str, ...]:
        shown, named = "the names of the engines were shown", "an answer names its engine or model"
        if self.includes_unblind:
            unblind = f"counted, although {shown}."
        else:
            unblind = f"not counted, because {shown}. Use --all to count these votes."
        if self.includes_named:
            naming = f"counted, although {named}. Use --without-named to exclude these votes."
        else:
            naming = f"not counted, because {named}."
        left_out = (
            (self.unblind, unblind),
            (self.named, naming),
            (self.one_engine, "not counted, because all answers came from the same engine."),
        )
        notes = [f"{counted(count, 'vote is', 'votes are')} {why}" for count, why in left_out if count]
        if len(self.groups) > 1:
            groups = "; ".join(", ".join(members) for members in self.groups)
            notes.append(
                f"No vote connects these groups of engines, so ratings can be compared only within a group: {groups}."
            )
        notes += [
            f"{engine.engine} had several models, whose votes are rated together: {', '.join(engine.models)}."
            for engine in self.engines
            if len(engine.models) > 1
        ]
        if self.position is not None:
            notes.append(text_at(self.position, "sentence"))
        return tuple(notes)

    @property
    def neighbours(self) -> tuple[RatedPair, ...]:
        """The pairs of engines that follow each other in the order of their ratings, within their groups."""
        ordered = [[it.engine for it in self.engines if it.engine in members] for members in self.groups]
        following = {pair for engines in ordered for pair in pairwise(engines)}
        return tuple(pair for pair in self.pairs if (pair.a, pair.b) in following)

    def section(self) -> Section:
        """Return the ratings as printed and written into reports. The pairs that are not neighbours are the section's
        `rest`."""
        figures = [
            Figure(
                it.engine,
                it.rating,
                f"{it.rating:.0f}",
                (it.interval.low, it.interval.high),
                f"{it.interval.low:.0f} to {it.interval.high:.0f}",
                "{wins:,} won, {losses:,} lost, {ties:,} tied, {bad:,} both bad".format(**it.tally),
                f"{win_rate(it.tally):.1%}",
            )
            for it in self.engines
        ]
        ends = [end for it in figures for end in (it.value, *(it.ends or ()))]
        low, high = math.floor(min(ends) / _STEP), math.floor(max(ends) / _STEP) + 1
        neighbours = self.neighbours
        others = sorted(
            (pair for pair in self.pairs if pair not in neighbours), key=lambda pair: not pair.shown
        )
        return Section(
            title="Ratings",
            about=f"{counted(self.votes, 'vote')}: {self.ties / self.votes:.1%} ties, {self.bad / self.votes:.1%} both bad",
            tables=(
                chart(
                    "Rating by Bradley–Terry",
                    "The mean rating of engines that votes connect is 1000.",
                    figures,
                    Axis(_STEP * low, _STEP * high),
                    titles=("rating", "95% interval", "contests", "win rate"),
                ),
            ),
            remarks=(
                *(Remark(public(pair.sentence), pair.shown) for pair in neighbours),
                *(Remark(public(note)) for note in self.notes),
            ),
            rest=tuple(Remark(public(pair.sentence), pair.shown) for pair in others),
        )

    def to_json(self) -> dict[str, Json]:
        return {
            **asdict(self),
            "engines": [engine.to_json() for engine in self.engines],
            "pairs": [pair.to_json() for pair in self.pairs],
            "notes": self.notes,
        }


_LEVEL = 0.95
_ENDS = (0.025, 0.975)


def rate(
    votes: Iterable[Vote],
    *,
    include_unblind: bool = False,
    include_named: bool = True,
    resamples: int = 1000,
    seed: int = 0,
) -> Ratings:
    """Rate the engines whose answers were voted on. By default only blind votes are used: a voter who sees the names
    judges the names too."""
    every = list(votes)
    between = [vote for vote in every if len(vote.engines) > 1]
    usable = [vote for vote in between if vote.blind or include_unblind]
    counted = [vote for vote in usable if include_named or not vote.is_named]
    found = [contests(vote) for vote in counted]
    flat = [contest for vote in found for contest in vote]
    engines = sorted({engine for contest in flat for engine in (contest.first, contest.second)})
    groups = _groups(engines, flat)
    rated: Iterable[EngineRating] = ()
    pairs: Iterable[RatedPair] = ()
    if flat:
        best, samples = fit(found, engines, resamples=resamples, seed=seed)
        rated = _rated(best, samples, engines, groups, counted, flat)
        pairs = _pairs(best, samples, engines, groups, flat)
    return Ratings(
        engines=tuple(sorted(rated, key=lambda rating: (-rating.rating, rating.engine))),
        pairs=tuple(pairs),
        groups=groups,
        votes=len(counted),
        ties=sum(vote.choice == "tie" for vote in counted),
        bad=sum(vote.choice == "bad" for vote in counted),
        unblind=sum(not vote.blind for vote in between),
        named=sum(vote.is_named for vote in usable),
        one_engine=len(every) - len(between),
        includes_unblind=include_unblind,
        includes_named=include_named,
        position=position_bias(between),
    )


def _groups(engines: Sequence[str], found: Iterable[Contest]) -> tuple[tuple[str, ...], ...]:
    group = {engine: {engine} for engine in engines}
    for contest in found:
        one, other = group[contest.first], group[contest.second]
        if one is not other:
            one |= other
            group.update(dict.fromkeys(other, one))
    distinct = {tuple(sorted(members)) for members in group.values()}
    return tuple(sorted(distinct, key=lambda members: (-len(members), members)))


def _rated(
    best: Values,
    samples: Values,
    engines: Sequence[str],
    groups: Sequence[Sequence[str]],
    votes: Iterable[Vote],
    found: Sequence[Contest],
) -> Iterator[EngineRating]:
    models: dict[str, dict[str, None]] = {engine: {} for engine in engines}
    for vote in votes:
        for answer in vote.candidates:
            models[answer.engine][f"{answer.backend}:{answer.model}"] = None
    for members in groups:
        places = [engines.index(engine) for engine in members]
        # the random centre of the prior shifts all ξ of a sample alike, which carries no information about the
        # engines
        centred = samples[:, places] - samples[:, places].mean(axis=1, keepdims=True)
        for column, engine in enumerate(members):
            low, high = (MEAN + POINTS * float(end) for end in np.quantile(centred[:, column], _ENDS))
            yield EngineRating(
                engine=engine,
                models=tuple(models[engine]),
                rating=MEAN + POINTS * float(best[places[column]]),
                interval=Interval(low=low, high=high),
                tally=tally(engine, found),
            )


def _pairs(
    best: Values,
    samples: Values,
    engines: Sequence[str],
    groups: Sequence[Sequence[str]],
    found: Sequence[Contest],
) -> Iterator[RatedPair]:
    """Yield all pairs of engines of the same group, with intervals that hold for all pairs together."""
    between: dict[frozenset[str], list[Contest]] = {}
    for contest in found:
        between.setdefault(frozenset((contest.first, contest.second)), []).append(contest)
    place = {engine: index for index, engine in enumerate(engines)}
    pairs = [
        pair
        for members in groups
        for pair in combinations(sorted(members, key=lambda engine: (-best[place[engine]], engine)), 2)
    ]
    shown = [round(MEAN + POINTS * value) for value in best.tolist()]
    one, other = ([place[pair[side]] for pair in pairs] for side in (0, 1))
    differences = best[one] - best[other]
    margins = _margins(samples[:, one] - samples[:, other], differences)
    for (a, b), difference, margin in zip(pairs, differences.tolist(), margins.tolist(), strict=True):
        yield RatedPair(
            a=a,
            b=b,
            difference=POINTS * difference,
            shown_difference=shown[place[a]] - shown[place[b]],
            interval=Interval(low=POINTS * (difference - margin), high=POINTS * (difference + margin)),
            tally=tally(a, between.get(frozenset((a, b)), ())),
            pairs=len(pairs),
        )


def _margins(samples: Values, best: Values) -> Values:
    """Return half the width of each difference's interval, so that all intervals hold together with a probability of 95%.

    Half the width is the standard error of a difference times c, the 95th percentile over the samples of the largest
    |difference − best| in standard errors (the single-step max-|t| method of Westfall and Young 1993). For one
    pair, c is about 1.96. The method allows for the dependence of differences with an engine in common.
    """
    errors = samples.std(axis=0, ddof=1)
    largest = np.abs((samples - best) / errors).max(axis=1)
    return np.asarray(np.quantile(largest, _LEVEL) * errors, np.float64)
