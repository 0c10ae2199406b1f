"""The installed assertions, and checking answers with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from paragone.assertions import Answer, AnyAssertion, Judge
from paragone_workbench.experiments.suite import AssertionSpec, SuitePrompt

if TYPE_CHECKING:
    from paragone.discovery import Problem

__all__ = ["AssertionCatalog", "AssertionResult", "evaluate", "load_assertions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionResult:
    """What one assertion of a prompt found in an answer.

    Attributes:
        index: Its place in `SuitePrompt.assertions`, from 0.
        type: The name of the assertion; with `not ` before it if it is negated.
        passed: Whether it passed; None if no verdict could be given.
        reason: One sentence that says what was found, or why no verdict could be given.
        score: How well the assertion holds, from 0 to 1, if it can tell.
    """

    index: int
    type: str
    passed: bool | None
    reason: str
    score: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionCatalog:
    """The assertions that were found, by name, and the plugins that failed."""

    assertions: Mapping[str, AnyAssertion]
    problems: tuple[Problem, ...] = ()

    def check_spec(self, spec: AssertionSpec, *, expected: str | None = None) -> None:
        """Check an assertion of a prompt with this expected answer. Raises InputError."""
        raise NotImplementedError

    def asks_engines(self, spec: AssertionSpec) -> tuple[str, ...]:
        """Return the names of the engines that an assertion asks. Raises InputError."""
        raise NotImplementedError

    def judges(self, prompts: Iterable[SuitePrompt]) -> tuple[str, ...]:
        """Return the names of all engines that the assertions of these prompts ask, each once."""
        raise NotImplementedError


def load_assertions() -> AssertionCatalog:
    """Import the plugins with assertions."""
    raise NotImplementedError


async def evaluate(
    prompt: SuitePrompt,
    answer: Answer,
    catalog: AssertionCatalog,
    judge: Judge | None = None,
    *,
    with_engine: bool | None = None,
) -> tuple[AssertionResult, ...]:
    """Check an answer with the assertions of its prompt; return the results in their order.

    Whatever an assertion raises is a result without a verdict.

    Args:
        prompt: The prompt.
        answer: The answer of an engine to it.
        catalog: The installed assertions.
        judge: Asks the engines that judge; None if there are none.
        with_engine: True for the assertions that ask an engine only, False for the others only, None for all.
    """
    raise NotImplementedError
