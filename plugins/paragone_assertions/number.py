"""The assertion `number`: the last number in the answer is within bounds, or near the expected number."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

from paragone import InputError, Options, option
from paragone.assertions import Answer, Assertion, Judge, NoVerdict, Verdict

_NUMBER = re.compile(
    r"""
    (?<!\w)(?<![0-9]\.)                 # not inside a word or a version such as 1.2.3
    [-+−]?
    (?: (?: [0-9]{1,3}(?:,[0-9]{3})+(?![0-9]) | [0-9]+ ) (?: \.[0-9]+ )? | (?<!\.)\.[0-9]+ )
    (?: [eE][-+]?[0-9]{1,3}(?![0-9]) )?
    """,
    re.VERBOSE,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberOptions(Options):
    """The options of `number`: bounds, all inclusive."""

    minimum: float | None = option(None, "Smallest number.")
    maximum: float | None = option(None, "Largest number.")
    tolerance: float | None = option(
        None,
        "Largest difference to the number in the expected answer of the prompt; 0 if no other option is set.",
        minimum=0,
    )

    @property
    def uses_expected(self) -> bool:
        """Whether the number in the answer is compared with the number in the expected answer."""
        return self.tolerance is not None or (self.minimum is None and self.maximum is None)


class Number(Assertion[NumberOptions]):
    """Compares the last number in the answer with bounds, or with the expected number.

    Commas between groups of three digits are ignored.
    """

    name = "number"
    summary = "The last number in the answer is within these bounds, or near the expected number."
    options = NumberOptions

    def check_expected(self, expected: str | None, options: NumberOptions) -> None:
        """Raise InputError if the assertion needs an expected number and the expected answer has none."""
        if options.uses_expected and (expected is None or last_number(expected) is None):
            raise InputError(
                "The assertion 'number' has nothing to compare with.",
                hint="Give the prompt an 'expected' with a number, or the assertion a 'minimum' or 'maximum'.",
            )

    async def check(self, answer: Answer, options: NumberOptions, judge: Judge) -> Verdict:
        """Compare the last number in the answer with the bounds, or with the expected number."""
        number = last_number(answer.text)
        if number is None:
            return Verdict(passed=False, reason="The answer has no number.")
        passed = (options.minimum is None or number >= _exact(options.minimum)) and (
            options.maximum is None or number <= _exact(options.maximum)
        )
        reason = f"The last number in the answer is {number:,}"
        if options.uses_expected:
            wanted = last_number(answer.expected or "")
            if wanted is None:
                raise NoVerdict("The prompt has no expected number.")
            passed &= abs(number - wanted) <= _exact(options.tolerance or 0.0)
            reason += f", the expected one is {wanted:,}"
        return Verdict(passed=passed, reason=f"{reason}.")


def last_number(text: str) -> Decimal | None:
    """Return the last number in a text, with a point before decimals; None if the text has no number."""
    numbers = _NUMBER.findall(text)
    return Decimal(numbers[-1].replace(",", "").replace("−", "-")) if numbers else None


def _exact(bound: float) -> Decimal:
    """Return a bound exactly as the user wrote it: 0.1, not the nearest binary fraction."""
    return Decimal(repr(bound))
