"""Ratings from votes: recovery and coverage in simulations, extreme cases, and an independent computation."""

import itertools
import random

import numpy as np
import pytest
from bench.simulate.ratings import false_claims, simulated_votes

from paragone_workbench.compare.ratings import MEAN, POINTS, PRIOR_SD, rate, win_rate
from paragone_workbench.store.votes import Vote, VotedAnswer


def candidate(engine, model="m", *, names_its_engine=False):
    return VotedAnswer(engine=engine, backend="b", model=model, run="r1", names_its_engine=names_its_engine)


def vote(engines, choice, *, blind=True):
    return Vote(candidates=tuple(map(candidate, engines)), choice=choice, blind=blind, created=0)


def won(winner, loser, count=1):
    return [vote((winner, loser), 0) if number % 2 else vote((loser, winner), 1) for number in range(count)]


def by_engine(found):
    return {it.engine: it for it in found.engines}


def rating(found):
    return {it.engine: it.rating for it in found.engines}


TRUTH = dict(zip("abcde", (1130, 1060, 1000, 950, 860), strict=True))


@pytest.mark.thorough
def test_intervals_cover_the_true_ratings():
    rng = random.Random(40)
    held = [
        it.interval.low <= TRUTH[it.engine] <= it.interval.high
        for _ in range(60)
        for it in rate(simulated_votes(TRUTH, 40, rng), resamples=300).engines
    ]
    # 300 intervals; those of a simulation depend on each other, so count each simulation as two
    assert np.mean(held) == pytest.approx(0.95, abs=3 * (0.95 * 0.05 / 120) ** 0.5)


@pytest.mark.thorough
def test_five_equal_engines_are_rarely_reported_as_different():
    """Ten intervals that held 95% each would tell some of them apart in 30% of the simulations."""
    trials = 40
    assert false_claims(5, 150, trials, resamples=300) <= 0.05 + 2 * (0.05 * 0.95 / trials) ** 0.5


def test_messages_state_the_difference_of_the_displayed_ratings():
    found = rate(won("a", "b", 9) + won("b", "a", 3))
    shown = {engine: round(it) for engine, it in rating(found).items()}
    (pair,) = found.pairs
    assert f"a is rated above b by {shown['a'] - shown['b']} points" in pair.sentence


def test_the_intervals_of_pairs_are_corrected_for_their_number():
    few, many = rate(won("a", "b", 30)), rate(won("a", "b", 30) + won("c", "d", 30) + won("b", "c", 30))
    (alone,) = few.pairs
    assert "points (95% interval" in alone.sentence
    assert "correction" not in alone.sentence
    assert all("after correction for 6 pairs)" in it.sentence for it in many.pairs)
    # an interval agrees with what is claimed
    assert all(it.shown == (it.interval.low > 0) for it in (alone, *many.pairs))


def test_ratings_maximize_the_likelihood_on_a_grid():
    """An independent computation for three engines: the best point of the posterior among all of a grid."""
    votes = (
        won("a", "b", 7) + won("b", "a", 3) + won("b", "c", 4) + won("c", "a", 2) + [vote("ac", "tie")] * 3
    )
    wins = {("a", "b"): 7, ("b", "a"): 3, ("b", "c"): 4, ("c", "a"): 3.5, ("a", "c"): 1.5}
    grid = np.arange(-1, 1.0001, 0.01)
    a, b = np.meshgrid(grid, grid, indexing="ij")
    place = {"a": a, "b": b, "c": -a - b}  # the prior makes their sum 0
    log_posterior = -sum(it**2 for it in place.values()) / (2 * (PRIOR_SD / POINTS) ** 2)
    for (winner, loser), count in wins.items():
        log_posterior = log_posterior - count * np.log1p(10.0 ** (place[loser] - place[winner]))
    best = np.unravel_index(log_posterior.argmax(), a.shape)
    found = rating(rate(votes))
    assert found["a"] == pytest.approx(MEAN + POINTS * a[best], abs=POINTS * 0.01)
    assert found["b"] == pytest.approx(MEAN + POINTS * b[best], abs=POINTS * 0.01)


@pytest.mark.parametrize("choice", ["tie", "bad"])
def test_only_ties_give_equal_ratings(choice):
    found = rate([vote("ab", choice)] * 30)
    assert set(rating(found).values()) == {MEAN}
    assert not found.pairs[0].shown
    assert (found.ties, found.bad) == ((30, 0) if choice == "tie" else (0, 30))
    assert win_rate(found.engines[0].tally) == 0.5
    assert found.position is None


def test_an_engine_that_always_wins_has_a_finite_rating():
    found = rate(won("a", "b", 1) * 1_000)
    assert MEAN < found.engines[0].rating < MEAN + 1000
    assert found.engines[0].interval.low < found.engines[0].rating < found.engines[0].interval.high
    assert win_rate(found.engines[0].tally) == 1


def test_a_vote_for_one_of_several_candidates_counts_as_a_win_over_each_other():
    found = rate([vote("abc", 1)])
    tallies = {it.engine: it.tally for it in found.engines}
    assert (tallies["b"]["wins"], tallies["a"]["losses"], tallies["c"]["losses"]) == (2, 1, 1)
    assert sum(tallies["a"].values()) == 1
    assert rating(found)["a"] == pytest.approx(rating(found)["c"])
    assert rate([vote("abc", "tie")]).engines[0].tally["ties"] == 2


def test_votes_over_three_answers_are_resampled_as_a_whole():
    """A vote over three is one observation, so its two contests are in a resample as often as each other."""
    rng = random.Random(12)
    three = [vote("abc", rng.randrange(3)) for _ in range(60)]
    apart = [
        vote((each.candidates[each.choice].engine, other.engine), 0)
        for each in three
        for place, other in enumerate(each.candidates)
        if place != each.choice
    ]
    together, separate = by_engine(rate(three)), by_engine(rate(apart))
    assert together["a"].rating == pytest.approx(separate["a"].rating)

    def width(it):
        return it.interval.high - it.interval.low

    assert width(together["a"]) > 1.05 * width(separate["a"])


def test_engines_that_no_vote_connects_are_not_compared():
    found = rate(won("a", "b", 20) + won("c", "d", 10) + won("d", "e", 10))
    assert found.groups == (("c", "d", "e"), ("a", "b"))
    assert {frozenset((it.a, it.b)) for it in found.pairs} == {
        frozenset(pair) for pair in ("ab", "cd", "ce", "de")
    }
    for members in found.groups:
        assert np.mean([rating(found)[it] for it in members]) == pytest.approx(MEAN)
    assert "No vote connects these groups of engines" in found.notes[0]
    assert "c, d, e; a, b." in found.notes[0]


def test_only_blind_votes_count_unless_all_are_asked_for():
    votes = won("a", "b", 6) + [vote("ba", 0, blind=False)] * 20
    blind, every = rate(votes), rate(votes, include_unblind=True)
    assert (blind.votes, blind.unblind, every.votes, every.unblind) == (6, 20, 26, 20)
    assert (blind.engines[0].engine, every.engines[0].engine) == ("a", "b")
    assert blind.position == every.position
    assert "20 votes are not counted" in blind.notes[0]
    assert "20 votes are counted" in every.notes[0]


def position(votes) -> dict:
    found = rate(votes).position
    assert isinstance(found, dict)
    return found


def test_a_position_bias_is_reported():
    biased = position(
        [vote("ab", 0)] * 40 + [vote("ba", 0)] * 40 + [vote("ab", 1)] * 20 + [vote("ab", "tie")] * 9
    )
    assert (biased["votes"], biased["first"], biased["expected"]) == (100, 80, 0.5)
    assert biased["interval"]["low"] > 0.5
    assert biased["sentence"].endswith("the votes have a position bias.")
    unbiased = position([vote("abc", place % 3) for place in range(30)])
    assert [unbiased["share"], unbiased["expected"]] == pytest.approx([1 / 3, 1 / 3])
    assert "no position bias is shown" in unbiased["sentence"]
    for count in (1, 4):
        found = position([vote("ab", 0)] * count)["sentence"]
        assert f"won 100.0% of {count} blind vote" in found
        assert found.endswith(": too few votes to show whether the position matters.")


def test_an_engine_whose_model_changed_is_noted():
    candidates = (candidate("a", "old"), candidate("b")), (candidate("a", "new"), candidate("b"))
    found = rate([Vote(candidates=it, choice=0, blind=True, created=0) for it in candidates])
    assert by_engine(found)["a"].models == ("b:old", "b:new")
    assert "a had several models, whose votes are rated together: b:old, b:new." in found.notes


@pytest.mark.parametrize(("count", "choice"), [(1, 0), (2, 2), (2, -1)])
def test_impossible_votes_are_refused(count, choice):
    with pytest.raises(ValueError):
        vote(itertools.islice("ab", count), choice)
