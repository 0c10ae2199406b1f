"""The installed assertions, and the check of an answer by them. A faulty assertion gives no verdict."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from paragone import InputError, Message, Options, ParagoneError, checks, errors, texts, threads
from paragone.assertions import Answer, AnyAssertion, Judge, NoVerdict, Verdict
from paragone.options import build
from paragone.wire import to_json
from paragone_workbench.engines.definitions import suggest
from paragone_workbench.engines.failures import PLUGIN_ERRORS, described
from paragone_workbench.experiments.suite import AssertionSpec, SuitePrompt
from paragone_workbench.store.experiments import AssertionResult

if TYPE_CHECKING:
    from paragone.discovery import PluginProblem


CHECK_S = 60.0
"""Seconds that an assertion may take, unless the assertion asks an engine."""

CLOSING_S = 2.0
"""Seconds within which assertions must release their resources."""

REASON_LENGTH = 300
"""Largest number of characters of `AssertionResult.reason`, which may quote an answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AssertionCatalog:
    assertions: Mapping[str, AnyAssertion]
    problems: tuple[PluginProblem, ...] = ()

    def check_spec(self, spec: AssertionSpec, *, expected: str | None = None) -> None:
        """Check an assertion of a prompt whose expected answer is `expected`. Raises InputError."""
        assertion, options = self.prepared(spec)
        with _input_errors(spec.type):
            assertion.check_expected(expected, options)

    def located(self, spec: AssertionSpec, folder: Path) -> AssertionSpec:
        """Return an assertion with what its options name in the folder of the suite. Raises InputError."""
        assertion, options = self.prepared(spec)
        with _input_errors(spec.type):
            found = checks.check_value(assertion.options, assertion.located(options, folder))
        return spec if found is options else dataclasses.replace(spec, options=to_json(found))

    def actions(self, prompts: Iterable[SuitePrompt]) -> tuple[str, ...]:
        """Return what assertions do that needs the user's consent. Raises InputError."""
        found: dict[str, None] = {}
        for spec in (spec for prompt in prompts for spec in prompt.assertions):
            assertion, options = self.prepared(spec)
            with _input_errors(spec.type):
                found |= dict.fromkeys(assertion.actions(options))
        return tuple(found)

    def asks_engines(self, spec: AssertionSpec) -> tuple[str, ...]:
        """Return the names of the engines that an assertion asks. Raises InputError."""
        assertion, options = self.prepared(spec)
        with _input_errors(spec.type):
            names: object = assertion.engines(options)
            if not isinstance(names, tuple) or not all(isinstance(name, str) for name in names):
                raise TypeError(f"expected a tuple of names of engines, not {names!r}")
        return names

    def judges(self, prompts: Iterable[SuitePrompt]) -> tuple[str, ...]:
        names = (name for prompt in prompts for spec in prompt.assertions for name in self.asks_engines(spec))
        return tuple(dict.fromkeys(names))

    def prepared(self, spec: AssertionSpec) -> tuple[AnyAssertion, Options]:
        """Return an assertion and the assertion's options. Raises InputError if the name or an option is wrong."""
        assertion = self.assertions.get(spec.type)
        if assertion is None:
            hint = suggest(spec.type, self.assertions)
            broken = "".join(f" {problem.message}" for problem in self.problems)
            raise InputError(f"There is no assertion {spec.type!r}.", hint=hint + broken)
        with _input_errors(spec.type):
            options = build(assertion.options, spec.options, owner=f"the assertion {spec.type!r}")
        return assertion, options

    async def ask(self, engine: str, messages: tuple[Message, ...]) -> str:
        """Refuse to ask an engine: judges are not open while assertions are only checked."""
        raise NoVerdict(f"The engine {engine} cannot be asked here.")

    def close(self) -> None:
        """Make all assertions release their resources, such as processes. The assertions can be used again."""
        closings = [threads.in_daemon_thread(assertion.close) for assertion in self.assertions.values()]
        concurrent.futures.wait(closings, CLOSING_S)


def load_assertions() -> AssertionCatalog:
    from paragone.discovery import discover_assertions  # not at start: loads pluggy and package metadata

    found = discover_assertions()
    return AssertionCatalog(assertions=found.assertions, problems=found.problems)


async def evaluate(
    prompt: SuitePrompt, answer: Answer, catalog: AssertionCatalog, judge: Judge | None = None
) -> tuple[AssertionResult, ...]:
    """Check an answer with the assertions of its prompt, and return the results in the order of the assertions. An
    exception of an assertion becomes a result without a verdict. Without `judge`, assertions that ask an engine are
    skipped."""
    answer = dataclasses.replace(
        answer, messages=prompt.messages, expected=prompt.expected, variables=prompt.variables
    )
    return tuple(
        [
            await _result(index, spec, answer, catalog, judge or catalog)
            for index, spec in enumerate(prompt.assertions)
            if judge is not None or not _asks_an_engine(spec, catalog)
        ]
    )


async def _result(
    index: int, spec: AssertionSpec, answer: Answer, catalog: AssertionCatalog, judge: Judge
) -> AssertionResult:
    title = f"not {spec.type}" if spec.negated else spec.type
    limit = asyncio.timeout(None if _asks_an_engine(spec, catalog) else CHECK_S)
    try:
        assertion, options = catalog.prepared(spec)
        async with limit:
            verdict = checks.check_value(Verdict, await assertion.check(answer, options, judge))
        if verdict.score is not None and not 0 <= verdict.score <= 1:
            raise errors.InterfaceViolation(f"its score {verdict.score} is not from 0 to 1")
    except ParagoneError as error:
        reason = str(error)
    except PLUGIN_ERRORS as error:
        late = f"The assertion gave no verdict within {CHECK_S:g} seconds."
        reason = late if limit.expired() else _unexpected("The assertion", error)
    else:
        score = verdict.score
        return AssertionResult(
            index=index,
            type=title,
            passed=verdict.passed != spec.negated,
            reason=texts.shortened(" ".join(verdict.reason.split()), REASON_LENGTH),
            score=1 - score if spec.negated and score is not None else score,
        )
    reason = texts.shortened(" ".join(reason.split()), REASON_LENGTH)
    return AssertionResult(index=index, type=title, passed=None, reason=reason)


def _asks_an_engine(spec: AssertionSpec, catalog: AssertionCatalog) -> bool:
    try:
        return bool(catalog.asks_engines(spec))
    except ParagoneError:
        return False  # `_result` raises the same error again, and returns it as the reason


@contextmanager
def _input_errors(name: str) -> Iterator[None]:
    try:
        yield
    except ParagoneError:
        raise
    except PLUGIN_ERRORS as error:
        raise InputError(_unexpected(f"The assertion {name!r}", error)) from error


def _unexpected(subject: str, error: BaseException) -> str:
    if isinstance(error, errors.InterfaceViolation):
        what = f"{subject} breaks the plugin interface: {error}."
    else:
        what = f"{subject} raised an unexpected error ({described(error)})."
    return f"{what} Report the error to the author of the assertion."
