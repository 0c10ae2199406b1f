"""Differences from paired data, held against known cases and independent computations."""

from itertools import product
from math import comb

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paragone_workbench.statistics import holm, paired_difference


def test_mcnemars_test_is_the_binomial_test_of_the_discordant_pairs():
    found = paired_difference([1] * 5 + [0] * 14 + [1] * 40, [0] * 5 + [1] * 14 + [1] * 40, kind="passes")
    assert (found.more_a, found.more_b, found.test) == (5, 14, "mcnemar")
    assert found.p == pytest.approx(2 * sum(comb(19, k) for k in range(6)) / 2**19)
    assert found.difference == pytest.approx(9 / 59)


def test_shares_of_repetitions_are_tested_by_the_sign_test():
    """Each prompt at which one engine passed more often counts once, however much more often that was."""
    shares = paired_difference(
        [0.2] * 5 + [0.4] * 14 + [1] * 40, [0] * 5 + [1] * 14 + [1] * 40, kind="shares"
    )
    passes = paired_difference([1] * 5 + [0] * 14 + [1] * 40, [0] * 5 + [1] * 14 + [1] * 40, kind="passes")
    assert (shares.test, shares.method) == ("sign", "skewed_t")
    assert shares.p == passes.p


def test_few_values_are_permuted_exactly():
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
def test_values_that_all_differ_alike_have_no_interval(n, by, kind):
    found = paired_difference([0] * n, [by] * n, kind=kind)
    assert (found.interval, found.method, found.difference) == (None, "none", by)
    assert 0 <= found.p <= 1
    if not by:
        assert found.p == 1


def test_passes_that_all_differ_alike_have_an_interval():
    """20 prompts that all came out alike leave room for some among further ones that would not."""
    alike = paired_difference([1] * 20, [1] * 20, kind="passes")
    assert alike.p == 1
    assert alike.interval.low == pytest.approx(-alike.interval.high)
    assert 0.05 < alike.interval.high < 0.2
    apart = paired_difference([0] * 20, [1] * 20, kind="passes")
    assert 0.5 < apart.interval.low < 1 == apart.interval.high
    assert paired_difference([0] * 9, [1] * 9, kind="passes").interval is None


@given(st.lists(st.floats(0, 1), max_size=20))
def test_holms_method_keeps_the_order_and_lies_between_none_and_bonferronis(ps):
    adjusted = holm(ps)
    assert all(p <= q <= min(1, p * len(ps)) for p, q in zip(ps, adjusted, strict=True))
    assert sorted(range(len(ps)), key=lambda i: (ps[i], i)) == sorted(
        range(len(ps)), key=lambda i: (adjusted[i], ps[i], i)
    )


def test_a_clear_difference_is_shown_among_hundreds_of_comparisons():
    """10,000 random signs end at a p-value of 0.0002, which 250 comparisons raise to 0.05."""
    clear = paired_difference([0.0] * 100, [1 + (i % 7) / 10 for i in range(100)])
    assert holm([clear.p, *[0.5] * 500])[0] < 1e-6
