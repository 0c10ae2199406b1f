"""The assertion `contains`: the answer contains given texts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from paragone import InputError, Options, option
from paragone.assertions import Answer, Assertion, Judge, Verdict
from paragone.wording import quoted


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainsOptions(Options):
    """The options of `contains`."""

    value: tuple[str, ...] = option(
        (), "The text, or a list of texts; by default the expected answer of the prompt."
    )
    match: Literal["all", "any"] = option(
        "all", "Whether the answer must contain all texts of a list, or any."
    )
    ignore_case: bool = option(False, "Whether upper and lower case are the same.")

    def __post_init__(self) -> None:
        """Raise InputError for a text that every answer contains."""
        if "" in self.value:
            raise InputError(
                "The option 'value' of the assertion 'contains' cannot be empty.",
                hint="Every answer contains the empty text.",
            )


class Contains(Assertion[ContainsOptions]):
    """Searches the answer for texts."""

    name = "contains"
    summary = "The answer contains this text, or all or any of these texts."
    options = ContainsOptions

    def check_expected(self, expected: str | None, options: ContainsOptions) -> None:
        """Raise InputError if neither the option `value` nor the prompt has a text to search for."""
        if not options.value and not expected:
            raise InputError(
                "The assertion 'contains' has nothing to search for.",
                hint="Give it a 'value', or the prompt an 'expected'.",
            )

    async def check(self, answer: Answer, options: ContainsOptions, judge: Judge) -> Verdict:
        """Search the answer."""
        wanted = options.value or ((answer.expected or "").strip(),)
        text = answer.text.casefold() if options.ignore_case else answer.text
        found = [each for each in wanted if (each.casefold() if options.ignore_case else each) in text]
        passed = bool(found) if options.match == "any" else len(found) == len(wanted)
        if found and (passed or options.match == "any"):
            reason = f"The answer contains {', '.join(map(quoted, found))}."
        else:
            missing = [each for each in wanted if each not in found]
            reason = f"The answer does not contain {', '.join(map(quoted, missing))}."
        score = len(found) / len(wanted) if len(wanted) > 1 else None
        return Verdict(passed=passed, reason=reason, score=score)
