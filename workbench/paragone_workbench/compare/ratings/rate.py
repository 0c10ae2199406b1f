"""Rates engines from votes, by the model in `paragone_workbench.compare.ratings.bradley_terry`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations

from paragone_workbench.compare.ratings.bradley_terry import POINTS, Fit, Pairing, fit
from paragone_workbench.compare.ratings.contests import Contest, contests, tally
from paragone_workbench.compare.ratings.position_bias import position_bias
from paragone_workbench.compare.ratings.results import MEAN, EngineRating, RatedPair, Ratings
from paragone_workbench.statistics.intervals import Interval
from paragone_workbench.statistics.scientific import Values, np
from paragone_workbench.store.experiment_records import Vote

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
    """Rate the engines whose answers were voted on.

    By default only blind votes are used: a voter who sees the names also judges the names. `include_named` is
    whether to use votes on answers that name their engine or model. `seed` is for the bootstrap.
    """
    every = list(votes)
    between = [vote for vote in every if len(vote.engines) > 1]
    usable = [vote for vote in between if vote.blind or include_unblind]
    counted = [vote for vote in usable if include_named or not vote.is_named]
    found = [tuple(contests(vote)) for vote in counted]
    flat = [contest for vote in found for contest in vote]
    engines = sorted({engine for contest in flat for engine in (contest.first, contest.second)})
    groups = _groups(engines, flat)
    rated: Iterable[EngineRating] = ()
    pairs: Iterable[RatedPair] = ()
    if flat:
        fitted = fit(_pairings(found, engines), len(engines), resamples=resamples, seed=seed)
        rated = _rated(fitted, engines, groups, counted, flat)
        pairs = _pairs(fitted, engines, groups, flat)
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


def _pairings(found: Sequence[Sequence[Contest]], engines: Sequence[str]) -> list[tuple[Pairing, ...]]:
    """Return the contests of each vote for the model, in a fixed order so that votes with the same result are equal."""
    index = {engine: place for place, engine in enumerate(engines)}

    def pairing(contest: Contest) -> Pairing:
        first, second = index[contest.first], index[contest.second]
        if first < second:
            return Pairing(first, second, contest.outcome)
        return Pairing(second, first, 1 - contest.outcome)

    return [tuple(sorted(map(pairing, vote))) for vote in found]


def _groups(engines: Sequence[str], found: Iterable[Contest]) -> tuple[tuple[str, ...], ...]:
    """Return the groups of engines that contests connect, the largest group first."""
    group = {engine: {engine} for engine in engines}
    for contest in found:
        one, other = group[contest.first], group[contest.second]
        if one is not other:
            one |= other
            group.update(dict.fromkeys(other, one))
    distinct = {tuple(sorted(members)) for members in group.values()}
    return tuple(sorted(distinct, key=lambda members: (-len(members), members)))


def _rated(
    fitted: Fit,
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
        # the drawn centre of the prior shifts all ξ of a sample, which says nothing about the engines
        centred = fitted.samples[:, places] - fitted.samples[:, places].mean(axis=1, keepdims=True)
        for column, engine in enumerate(members):
            yield EngineRating(
                engine=engine,
                models=tuple(models[engine]),
                rating=MEAN + POINTS * float(fitted.best[places[column]]),
                interval=_interval(centred[:, column]),
                tally=tally(engine, found),
            )


def _pairs(
    fitted: Fit, engines: Sequence[str], groups: Sequence[Sequence[str]], found: Sequence[Contest]
) -> Iterator[RatedPair]:
    """Yield all pairs of engines of the same group, with intervals that hold for all of them together."""
    between: dict[frozenset[str], list[Contest]] = {}
    for contest in found:
        between.setdefault(frozenset((contest.first, contest.second)), []).append(contest)
    place = {engine: index for index, engine in enumerate(engines)}
    pairs = [
        pair
        for members in groups
        for pair in combinations(sorted(members, key=lambda engine: (-fitted.best[place[engine]], engine)), 2)
    ]
    shown = [round(MEAN + POINTS * best) for best in fitted.best.tolist()]
    one, other = ([place[pair[side]] for pair in pairs] for side in (0, 1))
    best = fitted.best[one] - fitted.best[other]
    margins = _margins(fitted.samples[:, one] - fitted.samples[:, other], best)
    for (a, b), difference, margin in zip(pairs, best.tolist(), margins.tolist(), strict=True):
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


def _interval(samples: Values) -> Interval:
    """Return the percentile interval of samples of ξ, in rating points."""
    low, high = (float(end) for end in np.quantile(samples, _ENDS))
    return Interval(low=MEAN + POINTS * low, high=MEAN + POINTS * high)
