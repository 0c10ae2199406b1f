"""The assertion `length`: the length of the answer is within bounds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from paragone import InputError, Options, option
from paragone.assertions import Answer, Assertion, Judge, NoVerdict, Verdict


@dataclass(frozen=True, slots=True, kw_only=True)
class LengthOptions(Options):
    """The options of `length`: bounds, both inclusive."""

    unit: Literal["characters", "words", "tokens"] = option(
        "words",
        "What is counted. Words are separated by white space; tokens include thinking.",
    )
    minimum: int | None = option(None, "Smallest length.", minimum=0)
    maximum: int | None = option(None, "Largest length.", minimum=0)

    def __post_init__(self) -> None:
        """Raise InputError if no bound is set."""
        if self.minimum is None and self.maximum is None:
            raise InputError(
                "The assertion 'length' has no bound.", hint="Give it a 'minimum' or a 'maximum'."
            )


class Length(Assertion[LengthOptions]):
    """Counts the characters, words or tokens of the answer."""

    name = "length"
    summary = "The answer has at least or at most this many characters, words or tokens."
    options = LengthOptions

    async def check(self, answer: Answer, options: LengthOptions, judge: Judge) -> Verdict:
        """Compare the number of characters, words or tokens with the bounds."""
        length = _length(answer, options.unit)
        passed = (options.minimum is None or length >= options.minimum) and (
            options.maximum is None or length <= options.maximum
        )
        counted = options.unit.removesuffix("s") if length == 1 else options.unit
        return Verdict(passed=passed, reason=f"The answer has {length:,} {counted}.")


def _length(answer: Answer, unit: str) -> int:
    if unit == "characters":
        return len(answer.text)
    if unit == "words":
        return len(answer.text.split())
    if answer.completion_tokens is None:
        raise NoVerdict("The engine does not report the number of tokens.")
    return answer.completion_tokens
