"""The assertions about the text: equals, contains, length, number."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from paragone import InputError
from paragone.assertions import Answer, NoVerdict
from paragone_assertions.texts import last_number


@pytest.mark.parametrize(
    ("answer", "expected", "options", "passed"),
    [
        ("  Paris\n", "\n Paris  ", {}, True),
        ("paris", "Paris", {}, False),
        ("STRASSE", "straße", {"ignore_case": True}, True),
        ("Rome", "Paris", {"value": "Rome"}, True),
        ("", None, {"value": ""}, True),
    ],
)
async def test_equals_compares_the_whole_text(check, answer, expected, options, passed):
    assert (await check("equals", answer, expected=expected, **options)).passed == passed


@pytest.mark.parametrize(
    ("answer", "expected", "options", "passed"),
    [
        (" Paris, of course", "Paris", {}, True),
        ("It is Paris", "Paris", {}, False),
        ("paris", None, {"value": "Par", "ignore_case": True}, True),
    ],
)
async def test_starts_with_compares_the_beginning(check, answer, expected, options, passed):
    assert (await check("starts_with", answer, expected=expected, **options)).passed == passed


async def test_the_reason_of_equals_quotes_both_texts(check):
    verdict = await check("equals", "Rome\nis it", expected="Paris")
    assert verdict.reason == r"The answer 'Rome\nis it' is not 'Paris'."
    assert len((await check("equals", "R" * 1000, expected="Paris")).reason) < 100


@pytest.mark.parametrize(
    ("answer", "options", "passed", "score", "reason"),
    [
        ("in paris", {"value": "Paris", "ignore_case": True}, True, None, "contains 'Paris'"),
        ("Rome", {"value": ["Paris", "Rome"]}, False, 0.5, "does not contain 'Paris'"),
        ("Rome", {"value": ["Paris", "Rome"], "match": "any"}, True, 0.5, "contains 'Rome'"),
        ("Rome", {"value": ["Paris", "Oslo"], "match": "any"}, False, 0, "'Oslo'"),
        ("the expected", {}, True, None, "contains 'expected'"),
    ],
)
async def test_contains_finds_all_or_any_texts(check, answer, options, passed, score, reason):
    verdict = await check("contains", answer, expected=" expected\n", **options)
    assert (verdict.passed, verdict.score) == (passed, score)
    assert reason in verdict.reason


@pytest.mark.parametrize(
    ("options", "passed", "reason"),
    [
        ({"maximum": 3}, True, "The answer has 3 words."),
        ({"minimum": 4}, False, "The answer has 3 words."),
        ({"unit": "characters", "minimum": 13, "maximum": 13}, True, "The answer has 13 characters."),
        ({"unit": "tokens", "maximum": 0}, False, "The answer has 1 token."),
    ],
)
async def test_length_counts_characters_words_or_tokens(check, options, passed, reason):
    verdict = await check("length", Answer(text="one two three", completion_tokens=1), **options)
    assert (verdict.passed, verdict.reason) == (passed, reason)


async def test_an_unknown_number_of_tokens_gives_no_verdict(check):
    with pytest.raises(NoVerdict, match="does not report the number of tokens"):
        await check("length", "one", unit="tokens", minimum=1)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("The answer is 42.", "42"),
        ("1,234,567.5 people", "1234567.5"),
        ("−3 °C", "-3"),
        ("5-3", "3"),
        ("it is ...42", "42"),
        (r"\boxed{17}", "17"),
        ("6.02e23", "6.02E+23"),
        ("1,2", "2"),
        ("3 of version v1.2.3 on x86", "3"),
        ("GPT4", None),
    ],
)
def test_the_last_number_in_a_text_is_found(text, number):
    assert last_number(text) == (None if number is None else Decimal(number))


@pytest.mark.thorough
@given(st.decimals(allow_nan=False, allow_infinity=False, places=3, min_value=-(10**12), max_value=10**12))
def test_any_number_is_found_in_its_written_form(number):
    assert last_number(f"The result is {number}.") == number
    assert last_number(f"It is {number:,} today") == number


@given(st.text())
def test_any_text_can_be_searched_for_numbers(text):
    number = last_number(text)
    assert number is None or number.is_finite()


def test_a_long_answer_is_read_in_one_pass():
    assert last_number("9" * 100_000 + "," * 100_000 + "1,234" * 50_000) is not None


@pytest.mark.parametrize(
    ("answer", "expected", "options", "passed"),
    [
        ("5", "the result is 4", {}, False),
        ("3.1", "3.0", {"tolerance": 0.1}, True),
        ("5", None, {"minimum": 5, "maximum": 6}, True),
        ("6.01", None, {"minimum": 5, "maximum": 6}, False),
        ("9", "4", {"minimum": 5, "tolerance": 1}, False),
        ("none", "4", {}, False),
        ("1e999", None, {"minimum": 5}, True),
    ],
)
async def test_number_checks_the_bounds(check, answer, expected, options, passed):
    verdict = await check("number", answer, expected=expected, **options)
    assert verdict.passed == passed
    if options == {}:
        assert verdict.reason.endswith("the expected one is 4.") or answer == "none"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("equals", {}, "has nothing to"),
        ("starts_with", {}, "has nothing to"),
        ("contains", {}, "has nothing to"),
        ("contains", {"value": ""}, "cannot be empty"),
        ("length", {}, "has no bound"),
        ("latency", {}, "has no bound"),
        ("number", {}, "nothing to compare with"),
        ("number", {"expected": "no number"}, "nothing to compare with"),
    ],
)
async def test_assertions_without_anything_to_compare_are_refused(check, name, options, message):
    with pytest.raises(InputError, match=message):
        await check(name, "one", **options)
