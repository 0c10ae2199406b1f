"""Checks single answers with the built-in assertions."""

import dataclasses
from collections.abc import Iterator, Mapping

import pytest

from paragone.assertions import Answer, AnyAssertion, Verdict
from paragone.discovery import discover_assertions
from paragone.options import build


class Judging:
    """A test double of the engines that judge: it gives the next of its replies, and keeps what it was asked."""

    def __init__(self, *replies: str) -> None:
        self.replies = list(replies)
        self.asked: list[tuple[str, str]] = []

    async def ask(self, engine, messages):
        (message,) = messages
        assert message.role == "user"
        self.asked.append((engine, message.text))
        return self.replies.pop(0)


@pytest.fixture(scope="module")
def assertions() -> Iterator[Mapping[str, AnyAssertion]]:
    found = discover_assertions()
    yield found.assertions
    for assertion in found.assertions.values():
        assertion.close()


@pytest.fixture
def check(assertions):
    """A function that checks an answer as a suite would."""

    async def checked(
        name: str, answer: str | Answer, *, judge=None, expected: str | None = None, **options
    ) -> Verdict:
        assertion = assertions[name]
        built = build(assertion.options, options)
        assertion.check_expected(expected, built)
        given = answer if isinstance(answer, Answer) else Answer(text=answer)
        given = dataclasses.replace(given, expected=expected)
        return await assertion.check(given, built, judge or Judging())

    return checked
