"""The interface of an assertion, a check of an answer that a plugin provides."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from paragone import errors, events, requests, wire
from paragone.options import Options

__all__ = ["Answer", "AnyAssertion", "Assertion", "Judge", "NoVerdict", "Verdict"]

OptionsT = TypeVar("OptionsT", bound=Options)


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """The answer of an engine, as assertions see it. None means that a value is unknown.

    Attributes:
        text: The answer, without thinking.
        thinking: What a reasoning model wrote before the answer.
        messages: The conversation that the answer continues, oldest message first.
        expected: The expected answer, if the prompt has one.
        choices: The log-probability of each choice of the prompt, most likely first, of which the answer is the most
            likely one. Empty if the answer was generated.
        variables: The values of the prompt's variables.
        finish_reason: Why the answer ended.
        completion_tokens: Number of generated tokens, thinking included.
        ttft_s: Seconds from sending the request to the first text, thinking included.
        total_s: Seconds from sending the request to the end of the answer.
        decode_tps: Tokens generated per second after the first.
    """

    text: str
    thinking: str = ""
    messages: tuple[requests.Message, ...] = ()
    expected: str | None = None
    choices: Mapping[str, float] = field(default_factory=dict)
    variables: Mapping[str, wire.Json] = field(default_factory=dict)
    finish_reason: events.FinishReason | None = None
    completion_tokens: int | None = None
    ttft_s: float | None = None
    total_s: float | None = None
    decode_tps: float | None = None

    @property
    def prompt(self) -> str:
        """The text of the last message of the user; empty if there is none."""
        return next((message.text for message in reversed(self.messages) if message.role == "user"), "")


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What an assertion found.

    Attributes:
        passed: Whether the assertion holds.
        reason: The finding in one sentence, such as `The answer does not contain 'Paris'.` It must not judge the
            finding, because the user may have negated the assertion.
        score: How well the assertion holds, from 0 to 1, for tables and comparisons; None if the assertion
            has no degrees. For a negated assertion, paragone uses 1 − score.
    """

    passed: bool
    reason: str
    score: float | None = None


class NoVerdict(errors.ParagoneError):
    """An assertion cannot decide: a figure is unknown, or a judge's answer has no clear verdict.

    An assertion that raises NoVerdict has neither passed nor failed; the suite records an error.
    """


class Judge(Protocol):
    """Asks the engines that judge answers."""

    async def ask(self, engine: str, messages: tuple[requests.Message, ...]) -> str:
        """Return the answer of an engine, without thinking. Raises NoVerdict if the engine cannot answer."""
        ...


class Assertion(ABC, Generic[OptionsT]):
    """One kind of check. One instance checks all answers, several of them concurrently.

    Attributes:
        name: Its name in suites, such as `contains`: lower-case letters, digits and underscores.
        summary: One sentence that explains when the assertion holds.
        options: The class of its options. The `__post_init__` of the options checks options that depend on
            each other, and raises InputError. No option can have the name `type` or `not`.
    """

    name: str
    summary: str
    options: type[OptionsT]

    def check_expected(self, expected: str | None, options: OptionsT) -> None:
        """Raise InputError if answers to a prompt with this expected answer cannot be checked.

        None means that the prompt has no expected answer. The application calls this method when it reads a suite.
        """
        return

    def engines(self, options: OptionsT) -> tuple[str, ...]:
        """Return the names of the engines that the assertion asks, if any.

        Assertions that ask engines are checked after all runs, so that judges do not compete with the
        engines that they judge.
        """
        return ()

    def located(self, options: OptionsT, folder: Path) -> OptionsT:
        """Return the options with what they name in the folder of the suite, such as the path and the digest of a file.

        The application calls this method when it reads a suite, and saves the result. Raises InputError.
        """
        return options

    def actions(self, options: OptionsT) -> tuple[str, ...]:
        """Return what the assertion does that needs the user's consent, such as `runs Python code in checks.py`.

        The options are the result of `located`. Consent is remembered for these words, so they have the digest of a file.
        """
        return ()

    @abstractmethod
    async def check(self, answer: Answer, options: OptionsT, judge: Judge) -> Verdict:
        """Check an answer. Raises NoVerdict if no verdict can be given.

        Checks share an event loop, so a check must not block: use `asyncio.to_thread` for slow work.
        """

    def close(self) -> None:
        """Release what the assertion holds, such as a process. A later `check` may start another process."""
        return


AnyAssertion: TypeAlias = Assertion[Any]
"""An assertion with options of any class."""
