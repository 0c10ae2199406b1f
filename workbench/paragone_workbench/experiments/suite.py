"""Suites: prompts, with assertions that check answers, and the prompts of saved experiments."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from paragone import Json, Message, ParagoneError
from paragone.wire import from_json
from paragone_workbench.store import Store

PROBLEMS_SHOWN = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionSpec:
    """An assertion of a prompt.

    Attributes:
        type: The name of the assertion, such as `contains`.
        options: The values of the assertion's options, by name. Missing options have the default.
        negated: Whether the assertion passes if the check fails: `"not": true` in the file.
    """

    type: str
    options: Mapping[str, Json] = field(default_factory=dict)
    negated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class SuitePrompt:
    """One prompt of a suite.

    Attributes:
        index: The index of the prompt in the file, from 0. Faulty prompts have an index too, so that correcting a
            prompt does not renumber other prompts.
        line: The line of the file where the prompt begins, from 1.
        messages: The messages for the engines, oldest first, with the system message and with variables filled in.
        expected: The expected answer, with variables filled in; None if no answer is expected.
        tags: Names by which prompts are chosen.
        variables: The values that were filled in, by the names of the variables.
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
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class SuiteProblem:
    """A problem in a suite file.

    Attributes:
        line: The line, from 1.
        sentence: A sentence that says what is wrong, and what to do.
    """

    line: int
    sentence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Suite:
    """The content of a suite file.

    Attributes:
        name: The name of the file, without the ending.
        prompts: The prompts without a problem, in the order of the file.
        problems: The problems of the other prompts, in the order of the file.
        given_system: Indices of the prompts with the user's own system prompt, because the file has no system prompt.
    """

    name: str
    prompts: tuple[SuitePrompt, ...] = ()
    problems: tuple[SuiteProblem, ...] = ()
    given_system: frozenset[int] = frozenset()

    @property
    def checked(self) -> int:
        return sum(bool(prompt.assertions) for prompt in self.prompts)


def filter_prompts(suite: Suite, expression: str) -> Suite:
    """Return the suite with only the prompts that match an expression. The indices of prompts stay the same.

    `tag:NAME` chooses the prompts with this tag. Any other text chooses the prompts with a message that contains the
    text, whether in upper or lower case.
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


def problem_text(name: str, problems: Sequence[SuiteProblem]) -> str:
    """Return a line `NAME:LINE: SENTENCE` for each of the first problems, and the number of further problems."""
    lines = [f"{name}:{problem.line}: {problem.sentence}" for problem in problems[:PROBLEMS_SHOWN]]
    if len(problems) > PROBLEMS_SHOWN:
        lines.append(f"and {len(problems) - PROBLEMS_SHOWN:,} more")
    return "\n".join(lines)


PAGE = 1_000
"""Number of prompts in memory at a time."""


def saved_prompt(store: Store, experiment_id: int, index: int) -> SuitePrompt:
    """Return a prompt of an experiment. Raises StoreError, and ParagoneError if the prompt cannot be read."""
    ((_, content),) = store.experiments.prompts(experiment_id, index, 1)
    return prompt_from(index, content)


def saved_prompts(store: Store, experiment_id: int) -> Iterator[SuitePrompt]:
    """Yield the prompts of an experiment in order. Raises StoreError, and ParagoneError if a prompt cannot be read."""
    first = 0
    while page := store.experiments.prompts(experiment_id, first, PAGE):
        for index, content in page:
            yield prompt_from(index, content)
        first = page[-1][0] + 1


def prompt_from(index: int, content: Json) -> SuitePrompt:
    """Return a prompt from saved content. Raises ParagoneError if another version saved the content in another form."""
    try:
        return from_json(SuitePrompt, content)
    except (TypeError, ValueError) as error:
        raise ParagoneError(
            f"The prompt #{index} of the experiment was saved in a form that this version cannot read.",
            hint="Use the version of paragone that ran the experiment.",
        ) from error
