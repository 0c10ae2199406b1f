"""The assertion `equals`: the answer is a given text."""

from __future__ import annotations

from dataclasses import dataclass

from paragone import InputError, Options, option
from paragone.assertions import Answer, Assertion, Judge, Verdict
from paragone.wording import quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualsOptions(Options):
    """The options of `equals`."""

    value: str | None = option(None, "The text; by default the expected answer of the prompt.")
    ignore_case: bool = option(False, "Whether upper and lower case are the same.")


class Equals(Assertion[EqualsOptions]):
    """Compares the answer with a text. White space around the answer and around the text is ignored."""

    name = "equals"
    summary = "The answer is this text, apart from white space around it."
    options = EqualsOptions

    def check_expected(self, expected: str | None, options: EqualsOptions) -> None:
        """Raise InputError if neither the option `value` nor the prompt has a text to compare with."""
        if expected is None and options.value is None:
            raise InputError(
                "The assertion 'equals' has nothing to compare with.",
                hint="Give it a 'value', or the prompt an 'expected'.",
            )

    async def check(self, answer: Answer, options: EqualsOptions, judge: Judge) -> Verdict:
        """Compare the answer."""
        wanted = (options.value if options.value is not None else answer.expected or "").strip()
        text = answer.text.strip()
        passed = text == wanted or (options.ignore_case and text.casefold() == wanted.casefold())
        relation = "is" if passed else "is not"
        return Verdict(passed=passed, reason=f"The answer {quoted(text)} {relation} {quoted(wanted)}.")
