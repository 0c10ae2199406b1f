"""The assertions about the text: equals, contains, length."""

from __future__ import annotations

import pytest

from paragone import InputError
from paragone.assertions import Answer, NoVerdict


@pytest.mark.parametrize(
    ("answer", "expected", "options", "passed"),
    [
        ("  Paris\n", "Paris", {}, True),
        ("Paris", "\n Paris  ", {}, True),
        ("paris", "Paris", {}, False),
        ("STRASSE", "straße", {"ignore_case": True}, True),
        ("Pa ris", "Paris", {}, False),
        ("Rome", "Paris", {"value": "Rome"}, True),
        ("", None, {"value": ""}, True),
    ],
)
async def test_equals(check, answer, expected, options, passed):
    assert (await check("equals", answer, expected=expected, **options)).passed == passed


async def test_equals_says_what_it_compared(check):
    verdict = await check("equals", "Rome\nis it", expected="Paris")
    assert verdict.reason == r"The answer 'Rome\nis it' is not 'Paris'."
    assert len((await check("equals", "R" * 1000, expected="Paris")).reason) < 100


@pytest.mark.parametrize("name", ["equals", "contains"])
async def test_nothing_to_compare_with(check, name):
    with pytest.raises(InputError, match="has nothing to"):
        await check(name, "Paris")


@pytest.mark.parametrize(
    ("answer", "options", "passed", "score"),
    [
        ("in Paris", {"value": "Paris"}, True, None),
        ("in paris", {"value": "Paris", "ignore_case": True}, True, None),
        ("Rome", {"value": ["Paris", "Rome"]}, False, 0.5),
        ("Rome", {"value": ["Paris", "Rome"], "match": "any"}, True, 0.5),
        ("Rome", {"value": ["Paris", "Oslo"], "match": "any"}, False, 0),
        ("the expected", {}, True, None),
    ],
)
async def test_contains(check, answer, options, passed, score):
    verdict = await check("contains", answer, expected=" expected\n", **options)
    assert (verdict.passed, verdict.score) == (passed, score)


async def test_contains_says_what_is_missing(check):
    assert (await check("contains", "Rome", value=["Paris", "Rome"])).reason == (
        "The answer does not contain 'Paris'."
    )
    assert (await check("contains", "Rome", value=["Oslo", "Rome"], match="any")).reason == (
        "The answer contains 'Rome'."
    )


async def test_the_empty_text_is_refused(check):
    with pytest.raises(InputError, match="cannot be empty"):
        await check("contains", "Rome", value="")


@pytest.mark.parametrize(
    ("options", "passed", "reason"),
    [
        ({"maximum": 3}, True, "The answer has 3 words."),
        ({"minimum": 4}, False, "The answer has 3 words."),
        ({"unit": "characters", "minimum": 13, "maximum": 13}, True, "The answer has 13 characters."),
        ({"unit": "tokens", "maximum": 0}, False, "The answer has 1 token."),
    ],
)
async def test_length(check, options, passed, reason):
    verdict = await check("length", Answer(text="one two three", completion_tokens=1), **options)
    assert (verdict.passed, verdict.reason) == (passed, reason)


async def test_a_length_in_tokens_that_is_unknown(check):
    with pytest.raises(NoVerdict, match="does not report the number of tokens"):
        await check("length", "one", unit="tokens", minimum=1)


@pytest.mark.parametrize("name", ["length", "latency"])
async def test_bounds_are_required(check, name):
    with pytest.raises(InputError, match="has no bound"):
        await check(name, "one")
