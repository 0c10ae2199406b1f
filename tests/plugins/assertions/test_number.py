"""The number in an answer."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paragone import InputError
from paragone_assertions.texts import last_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is 42.", "42"),
        ("1,234,567.5 people", "1234567.5"),
        ("−3 °C", "-3"),
        ("5-3", "3"),
        ("it costs $4.20.", "4.20"),
        ("about .5", "0.5"),
        ("it is ...42", "42"),
        (r"\boxed{17}", "17"),
        ("6.02e23", "6.02E+23"),
        ("12km", "12"),
        ("1,2", "2"),
        ("3 of version v1.2.3 on x86", "3"),
        ("GPT4", None),
        ("", None),
    ],
)
def test_the_last_number(text, number):
    assert last_number(text) == (None if number is None else Decimal(number))


@pytest.mark.thorough
@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**12), max_value=10**12))
def test_any_number_is_found_as_it_is_written(number):
    assert last_number(f"The result is {number}.") == number
    assert last_number(f"It is {number:,} today") == number


@given(st.text())
def test_any_text_is_read(text):
    number = last_number(text)
    assert number is None or number.is_finite()


def test_a_long_answer_is_read_in_one_pass():
    assert last_number("9" * 100_000 + "," * 100_000 + "1,234" * 50_000) is not None


@pytest.mark.parametrize(
    ("answer", "expected", "options", "passed"),
    [
        ("4", "4", {}, True),
        ("5", "the result is 4", {}, False),
        ("3.1", "3.0", {"tolerance": 0.1}, True),
        ("3.11", "3.0", {"tolerance": 0.1}, False),
        ("5", None, {"minimum": 5, "maximum": 6}, True),
        ("6.01", None, {"minimum": 5, "maximum": 6}, False),
        ("4", "4", {"minimum": 5}, False),
        ("9", "4", {"minimum": 5, "tolerance": 1}, False),
        ("none", "4", {}, False),
        ("1e999", None, {"minimum": 5}, True),
    ],
)
async def test_number(check, answer, expected, options, passed):
    assert (await check("number", answer, expected=expected, **options)).passed == passed


@pytest.mark.parametrize("expected", [None, "no number"])
async def test_an_expected_number_that_is_missing(check, expected):
    with pytest.raises(InputError, match="nothing to compare with"):
        await check("number", "4", expected=expected)


async def test_it_says_which_number_it_took(check):
    verdict = await check("number", "first 1, then 2000", expected="3")
    assert verdict.reason == "The last number in the answer is 2,000, the expected one is 3."
