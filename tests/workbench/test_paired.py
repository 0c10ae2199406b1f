"""Differences from paired data, held against known cases and independent computations."""

from itertools import product
from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from paragone_workbench.compare.intervals import FEWEST
from paragone_workbench.compare.paired import holm, paired_difference


def test_mcnemars_test_is_the_binomial_test_of_the_discordant_pairs():
    found = paired_difference([1] * 5 + [0] * 14 + [1] * 40, [0] * 5 + [1] * 14 + [1] * 40, passes=True)
    assert (found.more_a, found.more_b, found.test) == (5, 14, "mcnemar")
    assert found.p == pytest.approx(2 * sum(comb(19, k) for k in range(6)) / 2**19)
    assert found.difference == pytest.approx(9 / 59)


def test_few_values_are_permuted_exactly():
    differences = [0.5, -0.2, 0.9, 0.4, 0.0, 0.7]
    sums = [
        sum(s * d for s, d in zip(signs, differences, strict=True)) for signs in product((1, -1), repeat=6)
    ]
    expected = sum(abs(it) >= sum(differences) - 1e-12 for it in sums) / len(sums)
    found = paired_difference([0] * 6, differences)
    assert found.test == "permutation"
    assert found.p == pytest.approx(expected)


def test_many_values_are_tested_alike_by_both_tests():
    rng = np.random.default_rng(5)
    differences = rng.normal(0.06, 1, 1000)
    permuted = paired_difference(np.zeros(1000), differences)
    t = paired_difference(np.zeros(1001), [*differences, differences.mean()])
    assert (permuted.test, t.test) == ("permutation", "t")
    # the permutation test draws: its p-value has a standard error of √(p(1 − p)/9999)
    assert permuted.p == pytest.approx(t.p, abs=4 * (t.p * (1 - t.p) / 9999) ** 0.5 + 0.002)
    assert permuted.interval is not None
    assert t.interval is not None
    assert permuted.interval.low == pytest.approx(t.interval.low, abs=0.01)


@pytest.mark.parametrize(("n", "method"), [(FEWEST, "bca"), (60, "bca"), (1500, "percentile")])
def test_swapping_the_engines_mirrors_the_result(n, method):
    rng = np.random.default_rng(n)
    a, b = rng.exponential(1, n), rng.exponential(1.3, n)
    one, other = paired_difference(a, b), paired_difference(b, a)
    assert one.method == other.method == method
    assert one.difference == pytest.approx(-other.difference)
    assert one.p == pytest.approx(other.p)
    assert one.interval.low == pytest.approx(
        -other.interval.high, abs=0.1 * (one.interval.high - one.interval.low)
    )
    assert (one.more_a, one.more_b) == (other.more_b, other.more_a)


@pytest.mark.parametrize("passes", [True, False])
@pytest.mark.parametrize("n", [1, 2, 20, 2000])
@pytest.mark.parametrize("by", [0, 1])
def test_values_that_all_differ_alike_have_no_interval(n, by, passes):
    found = paired_difference([0] * n, [by] * n, passes=passes)
    assert (found.interval, found.method, found.difference) == (None, "none", by)
    assert 0 <= found.p <= 1
    if not by:
        assert found.p == 1


def test_one_prompt_shows_nothing():
    found = paired_difference([0], [1])
    assert (found.prompts, found.p, found.interval) == (1, 1, None)


def test_no_prompt_and_unpaired_values_are_refused():
    for a, b in (([], []), ([1], [1, 2])):
        with pytest.raises(ValueError):
            paired_difference(a, b)


def test_a_rare_difference_falls_back_where_bca_is_undefined():
    found = paired_difference([0.0] * 1000, [0.0] * 999 + [1.0], passes=True)
    assert found.method in ("bca", "percentile")
    assert np.isfinite([found.interval.low, found.interval.high]).all()


def test_the_interval_covers_the_true_difference_as_often_as_it_says():
    rng = np.random.default_rng(11)
    trials, held = 300, 0
    for trial in range(trials):
        hard = rng.random(60)
        a, b = rng.random(60) < hard, rng.random(60) < np.minimum(1, hard + 0.1)
        truth = 0.1 - 0.005  # the mean of min(1, hard + 0.1) − hard for uniform `hard`
        interval = paired_difference(a.astype(float), b.astype(float), passes=True, seed=trial).interval
        held += interval.low <= truth <= interval.high
    # three standard errors of a share of 95% over these trials, and 1% for the bootstrap itself
    assert held / trials == pytest.approx(0.95, abs=0.01 + 3 * (0.95 * 0.05 / trials) ** 0.5)


def test_holms_method():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1, 1]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holms_method_keeps_the_order_and_lies_between_none_and_bonferronis(ps):
    adjusted = holm(ps)
    assert all(p <= q <= min(1, p * len(ps)) for p, q in zip(ps, adjusted, strict=True))
    assert sorted(range(len(ps)), key=lambda i: (ps[i], i)) == sorted(
        range(len(ps)), key=lambda i: (adjusted[i], ps[i], i)
    )
