"""The assertion `json`: the answer is JSON."""

from __future__ import annotations

import json

from paragone import Options
from paragone.assertions import Answer, Assertion, Judge, Verdict

FENCE = "```"


class ValidJson(Assertion[Options]):
    """Parses the answer."""

    name = "json"
    summary = "The answer is valid JSON, or contains valid JSON in a block between ``` fences."
    options = Options

    async def check(self, answer: Answer, options: Options, judge: Judge) -> Verdict:
        """Parse the answer."""
        if reason := json_fault(json_part(answer.text)):
            return Verdict(passed=False, reason=f"The answer is not valid JSON: {reason}.")
        return Verdict(passed=True, reason="The answer is valid JSON.")


def json_part(answer: str) -> str:
    """Return the part of an answer that should be JSON: the first block between ``` fences, or the whole answer."""
    lines = answer.split("\n")
    start = next((at for at, line in enumerate(lines) if line.lstrip().startswith(FENCE)), None)
    if start is None:
        return answer.strip()
    block = lines[start + 1 :]
    end = next((at for at, line in enumerate(block) if line.strip() == FENCE), len(block))
    return "\n".join(block[:end]).strip()


def json_fault(text: str) -> str:
    """Return why a text is not JSON; empty for JSON."""
    try:
        json.loads(text, parse_constant=_refuse)
    except RecursionError:
        return "it is nested too deeply"
    except ValueError as error:  # JSONDecodeError, and numbers with thousands of digits
        return str(error)
    return ""


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not a JSON number")
