"""Intervals of means, and paired differences: by hand, and how often they hold in simulations."""

import math
from itertools import product

import numpy as np
import pytest
import scipy
from bench.simulate.intervals import PASSES, numbers_coverage, passes_coverage
from bench.simulate.suites import false_claims
from hypothesis import given
from hypothesis import strategies as st

from paragone_workbench.statistics import (
    FEWEST,
    Estimate,
    holm,
    mean_interval,
    number,
    paired_difference,
    paired_share_interval,
    share_interval,
    t_interval,
)


@pytest.mark.parametrize(
    ("value", "error", "expected"),
    [
        (80.0, 2.3e-15, "80"),
        (0.1234, 0.0023, "0.1234 ± 0.0023"),
        (1234.5, 250, "1234 ± 250"),
        (0.312345, None, "0.312"),
        (1.5e-14, 2.3e-15, "0.0000000000000150 ± 0.0000000000000023"),
    ],
)
def test_numbers_have_only_the_digits_that_their_error_allows(value, error, expected):
    assert number(Estimate(value, error)) == expected


def test_symmetric_values_have_students_interval():
    values = [*range(1, 8), *range(-7, 0)]
    found = mean_interval(values)
    expected = scipy.stats.t.interval(0.95, len(values) - 1, loc=0, scale=scipy.stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected)
    t = t_interval(0, float(scipy.stats.sem(values)), len(values))
    assert (t.low, t.high) == pytest.approx(expected)


def test_skewed_values_have_a_wider_interval_on_that_side():
    values = np.random.default_rng(12).exponential(1, 12)
    found, mirrored = mean_interval(values), mean_interval(-values)
    low, high = scipy.stats.t.interval(0.95, 11, loc=values.mean(), scale=scipy.stats.sem(values))
    assert found.low == pytest.approx(low)
    assert found.high > high + 0.1 * (high - low)
    assert (mirrored.low, mirrored.high) == pytest.approx((-found.high, -found.low))
    # Hall's transformation takes the new end to Student's t
    skewness = scipy.stats.skew(values, bias=False)
    statistic = (values.mean() - found.high) / scipy.stats.sem(values)
    a = skewness / math.sqrt(12)
    transformed = statistic + a * statistic**2 / 3 + a**2 * statistic**3 / 27 + a / 6
    assert transformed == pytest.approx(scipy.stats.t.ppf(0.025, 11))


def test_an_outlier_moves_an_end_of_an_interval_by_half_at_most():
    """Hall's transformation alone would give −1.02 to 0.18, where all but one prompt came out alike."""
    found = mean_interval([-1.8, *[0.0] * 11])
    below, above = -0.15 - found.low, found.high + 0.15
    assert above == pytest.approx(0.33, abs=0.01)
    assert below == pytest.approx(1.5 * above)


def test_few_or_equal_values_have_no_interval():
    assert mean_interval(range(FEWEST - 1)) is None
    assert mean_interval([0.3] * 50) is None
    assert mean_interval(range(FEWEST)) is not None


def test_a_paired_share_interval_agrees_with_a_calculation_by_hand():
    found = paired_share_interval(3, 9, 40)
    a, b = 4 / 42, 10 / 42
    margin = 1.959964 * math.sqrt((a + b - (b - a) ** 2) / 42)
    assert (found.low, found.high) == pytest.approx((b - a - margin, b - a + margin))


def test_the_interval_of_a_share_is_wilsons():
    found = share_interval(0.8, 20)
    expected = scipy.stats.binomtest(16, 20).proportion_ci(method="wilson")
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-6)


def test_mcnemars_test_is_the_binomial_test_of_the_discordant_pairs():
    found = paired_difference([1] * 5 + [0] * 14 + [1] * 40, [0] * 5 + [1] * 14 + [1] * 40, kind="passes")
    assert (found.more_a, found.more_b, found.test) == (5, 14, "mcnemar")
    assert found.p == pytest.approx(2 * sum(math.comb(19, k) for k in range(6)) / 2**19)
    assert found.difference == pytest.approx(9 / 59)


def test_shares_of_repetitions_are_tested_by_the_sign_test():
    """Each prompt at which one engine passed more often counts once, however much more often that was."""
    shares = paired_difference(
        [0.2] * 5 + [0.4] * 14 + [1] * 40, [0] * 5 + [1] * 14 + [1] * 40, kind="shares"
    )
    passes = paired_difference([1] * 5 + [0] * 14 + [1] * 40, [0] * 5 + [1] * 14 + [1] * 40, kind="passes")
    assert (shares.test, shares.method) == ("sign", "skewed_t")
    assert shares.p == passes.p


def test_few_values_are_tested_by_all_permutations():
    differences = [0.5, -0.2, 0.9, 0.4, 0.0, 0.7]
    sums = [
        sum(s * d for s, d in zip(signs, differences, strict=True)) for signs in product((1, -1), repeat=6)
    ]
    expected = sum(abs(it) >= sum(differences) - 1e-12 for it in sums) / len(sums)
    found = paired_difference([0] * 6, differences)
    assert found.test == "permutation"
    assert found.p == pytest.approx(expected)


@pytest.mark.parametrize("kind", ["numbers", "shares"])
@pytest.mark.parametrize("n", [1, 2000])
@pytest.mark.parametrize("by", [0, 1])
def test_equal_differences_of_numbers_have_no_interval(n, by, kind):
    found = paired_difference([0] * n, [by] * n, kind=kind)
    assert (found.interval, found.method, found.difference) == (None, "none", by)
    assert 0 <= found.p <= 1
    if not by:
        assert found.p == 1


def test_equal_differences_of_passes_have_an_interval():
    """20 prompts that all came out alike leave room for some among further ones that would not."""
    alike = paired_difference([1] * 20, [1] * 20, kind="passes")
    assert alike.p == 1
    assert alike.interval.low == pytest.approx(-alike.interval.high)
    assert 0.05 < alike.interval.high < 0.2
    apart = paired_difference([0] * 20, [1] * 20, kind="passes")
    assert 0.5 < apart.interval.low < 1 == apart.interval.high
    assert paired_difference([0] * 9, [1] * 9, kind="passes").interval is None


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holms_p_values_lie_between_uncorrected_and_bonferronis(ps):
    adjusted = holm(ps)
    assert all(p <= q <= min(1, p * len(ps)) for p, q in zip(ps, adjusted, strict=True))
    assert sorted(range(len(ps)), key=lambda i: (ps[i], i)) == sorted(
        range(len(ps)), key=lambda i: (adjusted[i], ps[i], i)
    )


def test_a_clear_difference_is_shown_among_hundreds_of_comparisons():
    """10,000 random signs end at a p-value of 0.0002, which 250 comparisons raise to 0.05."""
    clear = paired_difference([0.0] * 100, [1 + (i % 7) / 10 for i in range(100)])
    assert holm([clear.p, *[0.5] * 500])[0] < 1e-6


# Coverage. A percentile or BCa bootstrap holds in 83% to 89% of such cases with 10 prompts.


@pytest.mark.parametrize("case", PASSES)
@pytest.mark.parametrize("prompts", [10, 50])
def test_intervals_of_passes_cover_the_truth_in_at_least_95_percent(case, prompts):
    """In more of them where few prompts differ: there are too few possible results to come close to 95%."""
    coverage = passes_coverage(prompts, *PASSES[case])
    assert coverage >= 0.95
    if prompts * sum(PASSES[case]) >= 10:
        assert coverage <= 0.97


@pytest.mark.thorough
def test_eleven_equal_engines_show_a_false_difference_in_at_most_5_percent():
    trials = 20  # without Holm's correction, about 8 of them would claim a difference
    assert false_claims(11, 20, trials) <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / trials)


@pytest.mark.thorough
@pytest.mark.parametrize(
    "case", ["lengths, B's 15% longer", "shares of 5 repetitions that passed", "times, equal"]
)
def test_intervals_of_numbers_have_their_stated_coverage(case):
    trials = 300
    coverage = numbers_coverage(case, 12, trials)
    error = math.sqrt(0.95 * 0.05 / trials)
    assert 0.93 - 2 * error <= coverage <= 0.97 + 2 * error
