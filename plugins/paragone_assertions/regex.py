"""The assertion `regex`: a regular expression matches in the answer."""

from __future__ import annotations

import re
from dataclasses import dataclass

from paragone import InputError, Options, option
from paragone.assertions import Answer, Judge, Verdict
from paragone.wording import quoted
from paragone_assertions.limited import LimitedAssertion


@dataclass(frozen=True, slots=True, kw_only=True)
class RegexOptions(Options):
    """The options of `regex`."""

    pattern: str = option(
        "",
        "The regular expression, in Python's syntax, which may contain flags such as `(?i)`. Required.",
    )

    def __post_init__(self) -> None:
        """Raise InputError if the pattern is missing or invalid."""
        if not self.pattern:
            raise InputError("The assertion 'regex' has no 'pattern'.", hint="Give it one.")
        try:
            re.compile(self.pattern)
        except (re.error, OverflowError, RecursionError) as error:
            raise InputError(
                f"The pattern {quoted(self.pattern)} is not a valid regular expression: {error}.",
                hint="See https://docs.python.org/3/library/re.html.",
            ) from error


class Regex(LimitedAssertion[RegexOptions]):
    """Searches the answer in a process, which is killed if the search takes too long."""

    name = "regex"
    summary = "A regular expression matches somewhere in the answer."
    options = RegexOptions

    async def check(self, answer: Answer, options: RegexOptions, judge: Judge) -> Verdict:
        """Search the answer. Raises NoVerdict if the search takes too long."""
        result = await self._process.run({"job": "search", "pattern": options.pattern, "text": answer.text})
        found = result["found"]
        if not isinstance(found, str):
            return Verdict(passed=False, reason=f"{quoted(options.pattern)} matches nothing in the answer.")
        return Verdict(passed=True, reason=f"{quoted(options.pattern)} matches {quoted(found)}.")
