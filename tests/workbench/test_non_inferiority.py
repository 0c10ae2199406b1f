"""Whether an engine is not much worse than another: the verdicts, how often they are right, and the prompts still needed."""

import math
import random

import pytest

from paragone_workbench.experiments.comparison import MetricComparison, non_inferiority, prompts_for
from paragone_workbench.experiments.comparison_rows import PASS_RATE
from paragone_workbench.statistics import Interval, PairedDifference, paired_difference, paired_share_interval


def comparison(low, high, *, prompts=400, metric=PASS_RATE):
    difference = None if low is None else (low + high) / 2
    paired = PairedDifference(
        prompts=prompts,
        mean_a=0.5,
        mean_b=0.5 + (difference or 0),
        more_a=1,
        more_b=1,
        interval=None if low is None else Interval(low=low, high=high),
        method="bonett_price",
        p=1.0,
        test="mcnemar",
    )
    return MetricComparison(a="A", b="B", metric=metric, paired=paired, adjusted_p=1.0, comparisons=1)


def verdicts(low, high, margin=0.03, **fields):
    return list(non_inferiority([comparison(low, high, **fields)], margin))


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (-0.018, 0.010, ("not worse", "not worse")),
        (-0.05, 0.01, ("open", "not worse")),
        (-0.05, 0.05, ("open", "open")),
        (-0.09, -0.04, ("worse", "not worse")),
        (0.001, 0.08, ("not worse", "open")),
        (-0.03, 0.0, ("open", "not worse")),
    ],
)
def test_the_verdict_is_read_from_the_interval(low, high, expected):
    assert tuple(found.verdict for found in verdicts(low, high)) == expected


def test_the_sentences():
    not_worse, _ = verdicts(-0.018, 0.010)
    assert not_worse.sentence == (
        "B is not worse than A by more than 3.0 points: at worst, B passes 1.8 points less often."
    )
    worse, better = verdicts(-0.09, -0.04)
    assert worse.sentence == "B is worse than A by more than 3.0 points."
    assert better.sentence == (
        "A is not worse than B by more than 3.0 points: at worst, A passes 4.0 points more often."
    )
    still_open, _ = verdicts(-0.05, 0.03, margin=0.05)
    assert still_open.sentence == (
        "Whether B is worse than A by more than 5.0 points is open. About 420 more prompts would settle this."
    )
    hopeless, _ = verdicts(-0.13, 0.07)
    assert hopeless.prompts_needed is None
    assert hopeless.sentence.endswith("is open, and more prompts hardly settle this.")


def simulated(rng, prompts, pass_a, pass_b, same):
    """Pass or fail of two engines that give the same result to the share `same` of the prompts."""
    a = [float(rng.random() < pass_a) for _ in range(prompts)]
    b = [value if rng.random() < same else float(rng.random() < pass_b) for value in a]
    paired = paired_difference(a, b, kind="passes")
    pair = MetricComparison(a="A", b="B", metric=PASS_RATE, paired=paired, adjusted_p=1.0, comparisons=1)
    return next(non_inferiority([pair], 0.03))


@pytest.mark.thorough
def test_an_engine_that_is_worse_by_the_margin_is_rarely_called_not_worse():
    # B fails 0.03 of what A passes: the true difference is −margin, and 2.5% of the intervals lie above.
    rng = random.Random(7)
    wrong = sum(simulated(rng, 300, 0.8, 0.65, 0.8).verdict == "not worse" for _ in range(1500))
    assert wrong / 1500 < 0.025 + 3 * math.sqrt(0.025 * 0.975 / 1500)


def test_with_several_comparisons_and_before_all_prompts_are_answered_the_interval_is_wider():
    (alone, _) = verdicts(-0.02, 0.0, prompts=100)
    several = alone.as_one_of(5, 100)
    early = alone.as_one_of(1, 400)
    assert several.interval.low == pytest.approx(-0.01 - 0.01 * 2.5758 / 1.96, abs=1e-5)
    assert early.interval.low == pytest.approx(-0.01 - 0.01 * 2.2414 * 2 / 1.96, abs=1e-5)
    assert (alone.verdict, several.verdict, early.verdict) == ("not worse", "not worse", "open")
    assert (several.is_early, early.is_early) == (False, True)
    needed = [it.prompts_needed for it in (alone, early, several)]
    assert needed[0] == needed[1] < needed[2]


@pytest.mark.parametrize("comparisons", [1, 5])
@pytest.mark.parametrize("margin", [0.03, 0.1])
def test_the_fewest_prompts_for_a_margin_are_those_with_which_equal_engines_are_not_worse(
    comparisons, margin
):
    fewest = prompts_for(margin, comparisons)
    verdict = []
    for count in (fewest - 1, fewest):
        interval = paired_share_interval(0, 0, count)
        (one, _) = verdicts(interval.low, interval.high, margin, prompts=count)
        verdict.append(one.as_one_of(comparisons, count).verdict)
    assert verdict == ["open", "not worse"]
