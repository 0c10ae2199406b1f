"""Suites: prompts with the assertions that check their answers, as they were read from a file."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from paragone import Json, Message

PROBLEMS_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionSpec:
    """An assertion of a prompt.

    Attributes:
        type: The name of the assertion, such as `contains`.
        options: Values of its options, by name. Options without a value have their default.
        negated: Whether it passes when it does not hold: `"not": true` in the file.
    """

    type: str
    options: Mapping[str, Json] = field(default_factory=dict)
    negated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SuitePrompt:
    """One prompt of a suite.

    Attributes:
        index: Its place in the file, from 0. Faulty prompts count too, so that correcting one does not
            renumber the others.
        line: The line of the file where it begins, from 1.
        messages: What is sent to engines, oldest first: variables are filled in, the system message is
            included.
        expected: The expected answer, with variables filled in; None if there is none.
        tags: Names by which prompts are chosen.
        variables: Values that were filled in.
        assertions: The checks of an answer: those of the prompt, then those of the file.
    """

    index: int
    line: int
    messages: tuple[Message, ...]
    expected: str | None = None
    tags: tuple[str, ...] = ()
    variables: Mapping[str, Json] = field(default_factory=dict)
    assertions: tuple[AssertionSpec, ...] = ()

    @property
    def text(self) -> str:
        """The text of the last message of the user: what a table shows."""
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteProblem:
    """Something wrong in a file.

    Attributes:
        line: The line, from 1.
        sentence: What is wrong, and what to do about it.
    """

    line: int
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """The content of a suite file.

    Attributes:
        name: The name of the file, without its ending.
        prompts: The prompts without a problem, in the order of the file.
        problems: What is wrong with the others, in the order of the file.
        given_system: Indices of the prompts whose system prompt is the one that was given, because the file has none.
    """

    name: str
    prompts: tuple[SuitePrompt, ...] = ()
    problems: tuple[SuiteProblem, ...] = ()
    given_system: frozenset[int] = frozenset()

    @property
    def checked(self) -> int:
        """Number of prompts whose answers are checked."""
        return sum(bool(prompt.assertions) for prompt in self.prompts)


def filter_prompts(suite: Suite, expression: str) -> Suite:
    """Return the suite with the prompts that match an expression only; they keep their indices.

    `tag:NAME` chooses the prompts with this tag. Anything else chooses those that contain it in a message,
    in upper or lower case.
    """
    key, _, tag = expression.partition(":")
    if key == "tag":
        chosen = [prompt for prompt in suite.prompts if tag in prompt.tags]
    else:
        wanted = expression.casefold()
        chosen = [
            prompt
            for prompt in suite.prompts
            if any(wanted in message.text.casefold() for message in prompt.messages)
        ]
    return dataclasses.replace(suite, prompts=tuple(chosen))


def problem_text(name: str, problems: Iterable[SuiteProblem], shown: int = PROBLEMS_SHOWN) -> str:
    """Return a line `NAME:LINE: SENTENCE` for each of the first `shown` problems, and the number of the others."""
    problems = list(problems)
    lines = [f"{name}:{problem.line}: {problem.sentence}" for problem in problems[:shown]]
    if len(problems) > shown:
        lines.append(f"and {len(problems) - shown:,} more")
    return "\n".join(lines)
