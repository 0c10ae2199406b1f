"""The statistics of a measurement, held against the standard library, by hand and identities; and what is concluded."""

import math
import statistics
from array import array
from pathlib import Path

import numpy as np
import pytest
import scipy
from bench.simulate.fidelity import (
    above_noise,
    conversation_coverage,
    coverage,
    depth_claims,
    pair_claims,
    pair_coverage,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from paragone import EngineError, LogitsBlock
from paragone.json_values import number_at, objects_at
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.engine import EngineTask
from paragone_workbench.engines.registry import Registry
from paragone_workbench.measure import distances as ours
from paragone_workbench.measure.distances import compared, log_probabilities, losses
from paragone_workbench.measure.fidelity_verdict import SCALE, band_of, depths, kld_pairs
from paragone_workbench.statistics import Estimate, rounded_up, smallest_shown, values_needed

windows = st.lists(
    st.lists(st.floats(-50, 50, width=32), min_size=3, max_size=3), min_size=ours.FEWEST_WINDOWS, max_size=8
)


def block(rows):
    data = array("f", [number for row in rows for number in row])
    return LogitsBlock(start=0, rows=len(rows), vocab_size=len(rows[0]), data=memoryview(data))


def by_hand(rows):
    """The log-softmax, in double precision, by the definition."""
    found = []
    for row in rows:
        norm = math.log(math.fsum(math.exp(logit - max(row)) for logit in row)) + max(row)
        found.append([logit - norm for logit in row])
    return found


# Means and their uncertainty: windows are the units


@settings(max_examples=30)
@given(windows)
def test_the_error_of_a_mean_is_the_standard_error_of_the_windows_means(values):
    found = ours.mean(np.array(values))
    means = [statistics.fmean(window) for window in values]
    assert found.value == pytest.approx(statistics.fmean(means), abs=1e-6)
    assert found.error == pytest.approx(statistics.stdev(means) / math.sqrt(len(means)), abs=1e-6)


def test_the_uncertainty_of_few_windows_is_unknown():
    values = np.arange(12.0).reshape(4, 3)
    assert ours.mean(values).error == pytest.approx(statistics.stdev([1, 4, 7, 10]) / 2)
    for found in (ours.mean(values[:3]), ours.perplexity(values[:3]), ours.root_mean_square(values[:3])):
        assert found.error is None
    assert ours.mean([]) is None


def test_conversations_of_unequal_length_count_by_their_positions():
    """The error is the jackknife's."""
    units = [np.full(size, value) for size, value in ((10, 1.0), (20, 2.0), (30, 1.5), (40, 3.0))]
    found = ours.mean(units)
    assert found.value == pytest.approx((10 + 40 + 45 + 120) / 100)
    without = [np.concatenate([*units[:at], *units[at + 1 :]]).mean() for at in range(4)]
    assert found.error == pytest.approx(math.sqrt(3 / 4 * 4 * statistics.pvariance(without)))


def test_perplexity_agrees_with_a_calculation_by_hand():
    # mean losses of the windows ln 2 and ln 8, equally often: the mean is ln 4
    found = ours.perplexity(np.log(np.array([[2.0, 2.0], [8.0, 8.0]] * 8)))
    assert found.value == pytest.approx(4)
    assert found.error == pytest.approx(4 * math.log(2) / math.sqrt(15))


def test_a_root_mean_square_agrees_with_a_calculation_by_hand():
    values = np.array([[0.3], [-0.4]] * 10)
    found = ours.root_mean_square(values)
    assert found.value == pytest.approx(math.sqrt(0.125))
    spread = statistics.stdev([0.09, 0.16] * 10) / math.sqrt(20)
    assert found.error == pytest.approx(spread / (2 * math.sqrt(0.125)))
    assert ours.root_mean_square(np.zeros((20, 2))) == Estimate(0.0, 0.0)


def test_the_error_of_a_ratio_is_that_of_students_two_sample_test():
    chooser = np.random.default_rng(5)
    many, few = chooser.normal(1, 0.2, (12, 3)), chooser.normal(1, 0.2, (4, 3))
    many, few = many / many.mean(), few / few.mean()  # then the shares of the means are the values themselves
    t = scipy.stats.ttest_ind(many.mean(axis=1) + 1, few.mean(axis=1)).statistic
    assert ours.ratio_error(many, few) == pytest.approx(1 / t)
    assert ours.ratio_error(7 * many, few / 9) == pytest.approx(1 / t)
    single = ours.ratio_error(many, few[:1])
    assert single == pytest.approx(statistics.stdev(many.mean(axis=1)) * math.sqrt(1 + 1 / 12))
    assert ours.ratio_error(many[:3], few) is None


@pytest.mark.parametrize("windows", [4, 60])
def test_intervals_have_their_stated_coverage(windows):
    """Windows as units; positions as units, which depend on each other, would hold far less often."""
    trials = 300
    by_windows, by_positions = coverage(windows, trials)
    error = math.sqrt(0.95 * 0.05 / trials)
    assert 0.93 - 2 * error <= by_windows <= 0.97 + 2 * error
    assert by_positions < 0.7
    assert conversation_coverage(windows, trials) >= 0.91 - 2 * error


def test_an_engine_at_the_noise_floor_is_rarely_reported_above_it():
    assert above_noise(4, 300) < 0.05
    assert above_noise(64, 300) < 0.02
    assert above_noise(5, 100, times=6) > 0.95


# The uncertainty as llama-perplexity computes it


def test_the_error_for_independent_positions_agrees_with_a_calculation_by_hand():
    found = ours.mean_error(np.log(np.array([2.0, 8.0] * 8)))
    assert found == pytest.approx(math.log(2) / math.sqrt(15))


# Percentiles


@pytest.mark.thorough
@settings(max_examples=25)  # of a hundred values each
@given(st.integers(0, 2**32), st.integers(100, 300), st.integers(0, 6), st.floats(0, 1))
def test_percentiles_are_interpolated_at_f_times_n_minus_1(seed, count, digits, fraction):
    values = (
        np.random.default_rng(seed).uniform(0, 10, count).round(digits)
    )  # with few digits, many are equal
    place = fraction * (len(values) - 1)
    ordered = sorted(values)
    low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
    expected = low + (high - low) * (place - math.floor(place))
    assert ours.percentile(values, fraction) == pytest.approx(expected, abs=1e-9)


# Distributions

WIDTH = 4
rows = st.lists(
    st.lists(st.floats(-30, 30, width=32), min_size=WIDTH, max_size=WIDTH), min_size=2, max_size=2
)


@settings(max_examples=30)
@given(rows)
def test_log_probabilities_add_up_to_one(logits):
    found = log_probabilities(block(logits))
    assert found == pytest.approx(np.array(by_hand(logits)), abs=1e-4)
    assert np.exp(found.astype(np.float64)).sum(axis=1) == pytest.approx(np.ones(len(logits)), abs=1e-5)


@settings(max_examples=30)
@given(rows, rows)
def test_a_divergence_is_never_negative_and_is_zero_for_equal_distributions(logits, other):
    p, q = log_probabilities(block(logits)), log_probabilities(block(other))
    targets = np.zeros(len(logits), np.int64)
    scores = compared(p, q, targets)
    assert (scores.kld >= 0).all()
    expected = [
        math.fsum(math.exp(a) * (a - b) for a, b in zip(one, two, strict=True))
        for one, two in zip(by_hand(logits), by_hand(other), strict=True)
    ]
    assert scores.kld == pytest.approx(np.array(expected), abs=1e-3, rel=1e-3)
    same = compared(p, p, targets)
    assert not same.kld.any()
    assert not same.delta_p.any()
    assert same.same_top.all()


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf])
def test_logits_that_are_not_finite_raise_an_error(odd):
    with pytest.raises(EngineError, match="not finite"):
        log_probabilities(block([[1.0, 2.0], [odd, 1.0]]))


def test_scores_of_two_distributions_agree_with_a_calculation_by_hand():
    p = log_probabilities(block([[math.log(0.5), math.log(0.25), math.log(0.25)]]))
    q = log_probabilities(block([[math.log(0.25), math.log(0.5), math.log(0.25)]]))
    scores = compared(p, q, np.array([1]))
    assert scores.loss == pytest.approx([math.log(2)])
    assert scores.kld == pytest.approx([0.25 * math.log(2)])
    assert scores.delta_p == pytest.approx([0.25])
    assert scores.same_top.tolist() == [False]
    assert losses(p, np.array([0])) == pytest.approx([math.log(2)])


# What is concluded


def candidate(name, windows):
    """A candidate whose windows have these mean KL divergences."""
    engine = EngineTask(EngineDefinition(name=name, backend="x", model=name), Registry())
    found = ours.Measured(engine)
    for kld in windows:
        values = np.full(50, kld)
        found.compare([ours.Scores(values, values, values, values < 1)])
    return found


# The scale


@pytest.mark.parametrize(
    ("kld", "band"),
    [
        (0, "tiny"),
        (0.0099, "tiny"),
        (0.01, "small"),
        (0.12, "noticeable"),
        (0.4, "large"),
        (3, "another model"),
    ],
)
def test_every_divergence_has_one_band(kld, band):
    assert band_of(kld) == band


def test_the_fidelity_page_lists_the_scale():
    page = (Path(__file__).parents[2] / "docs" / "fidelity.md").read_text(encoding="utf-8")
    rows = [line.strip("| ").split(" | ") for line in page.splitlines() if line.startswith("| ")]
    found = {row[0]: row[1:] for row in rows if row[0] in SCALE}
    middle = list(SCALE)[1:-1]
    assert [found[name][0].split()[-1] for name in middle] == [f"{SCALE[name]:g}" for name in middle]
    assert found["tiny"][0] == f"below {SCALE['tiny']:g}"


# By depth


def klds(rows):
    return np.array(rows, dtype=float)


def test_growth_of_the_divergence_with_depth_is_reported():
    rng = np.random.default_rng(0)
    flat = np.full((8, 255), 0.1) * rng.lognormal(0, 0.1, (8, 1)) * rng.lognormal(0, 0.3, (8, 255))
    steady, drifting = depths([flat, flat * np.linspace(1, 2, 255)], 512)
    assert [(part["first"], part["last"]) for part in objects_at(steady, "parts")] == [
        (257, 320),
        (321, 384),
        (385, 448),
        (449, 511),
    ]
    assert not steady["grows"]
    assert drifting["grows"]
    assert number_at(drifting, "interval", "low") > 0


def test_few_windows_have_a_depth_table_but_no_claim_of_growth():
    (found,) = depths([klds([[1, 2, 3, 4]] * 3)], 10)
    assert [part["mean_kld"] for part in objects_at(found.pop("parts"))] == [1, 2, 3, 4]
    assert found == {"growth": None, "interval": None, "adjusted_p": None, "grows": False}
    (falls,) = depths([klds([[4, 3, 2, 1 + index / 10] for index in range(6)])], 10)
    assert (number_at(falls, "adjusted_p") < 0.01, falls["grows"]) == (True, False)


# Candidates beside each other

NEAR = candidate("near", (0.010, 0.020, 0.015, 0.030, 0.012, 0.018))
MIDDLE = candidate("middle", (0.013, 0.024, 0.018, 0.036, 0.015, 0.021))
FAR = candidate("far", (0.10, 0.25, 0.16, 0.28, 0.11, 0.20))


def pairs(*candidates) -> list:
    return kld_pairs(candidates)


def test_paired_differences_can_be_shown_where_intervals_of_means_overlap():
    (pair,) = pairs(NEAR, MIDDLE)
    assert (pair["windows"], pair["windows_needed"], pair["shown"]) == (6, None, True)
    assert pair["difference"] == pytest.approx(0.0037, abs=1e-4)
    assert pair["sentence"].startswith("near is closer than middle: by 0.0037 nats (95% interval +0.0")
    (turned,) = pairs(MIDDLE, NEAR)
    assert turned["sentence"] == pair["sentence"]


def test_an_undecided_pair_reports_how_many_windows_would_settle_it():
    (pair,) = pairs(NEAR, candidate("same", (0.012, 0.017, 0.019, 0.028, 0.013, 0.019)))
    assert not pair["shown"]
    assert pair["windows_needed"] > 6
    assert pair["sentence"].startswith("Whether near or same is closer is open (95% interval −0.0")
    assert f"{rounded_up(pair['windows_needed'] - 6):,} more windows would settle this." in pair["sentence"]


@pytest.mark.parametrize(
    "windows",
    [(0.010, 0.020, 0.015, 0.030, 0.012, 0.018), (0.1, 0.2, 0.3), ()],
    ids=["copy", "short", "none"],
)
def test_pairs_with_equal_values_or_few_windows_are_skipped(windows):
    assert pairs(NEAR, candidate("other", windows)) == []


# How many values


def test_sample_sizes_agree_with_textbooks():
    # Guenther 1981: 31.4 by the normal distribution and 1.92 more for t; exact by noncentral t: 34
    assert values_needed(1, 0.5) == 34
    assert values_needed(1, 0.5, estimates_variance=False) == 32
    assert values_needed(1, 0) is None
    assert values_needed(1, 1e-6) is None
    assert values_needed(1, smallest_shown(1, 34)) == 34


# How often they hold


def test_pair_intervals_have_their_coverage_but_a_bootstrap_of_few_windows_does_not():
    by_t, by_bootstrap = pair_coverage(5, 500)
    assert by_t > 0.92
    assert by_bootstrap < 0.88


@pytest.mark.thorough
def test_equal_candidates_are_rarely_reported_as_different():
    assert pair_claims(8, 80, candidates=4) < 0.08


@pytest.mark.thorough
def test_growth_with_depth_is_rarely_claimed_falsely_and_found_if_real():
    assert depth_claims(8, 100) < 0.06
    assert depth_claims(8, 40, growth=1.0) > 0.95
