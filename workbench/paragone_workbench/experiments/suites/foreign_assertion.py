"""An assertion of another author, which can block neither the program nor the suite."""

from __future__ import annotations

import asyncio
from typing import Any

from paragone import Message, Options
from paragone.assertions import Answer, AnyAssertion, Assertion, Judge, NoVerdict, Verdict
from paragone_workbench.engines.foreign.answers import answer as answer_of_plugin
from paragone_workbench.engines.foreign.event_loop import BLOCKED_S, Blocked, ForeignLoop
from paragone_workbench.engines.waiting import Tell

MOST_BLOCKED = 3
"""Number of checks of an assertion that may block the event loop before the assertion is no longer used."""


class ForeignAssertion(Assertion[Any]):
    """Calls an assertion of another author: its checks on an event loop of their own, its other methods with a deadline."""

    def __init__(self, assertion: AnyAssertion, tell: Tell) -> None:
        """`tell` shows that the program waits for the assertion."""
        self.options = assertion.options
        self._assertion = assertion
        self._plugin = f"the assertion {assertion.name}"
        self._tell = tell
        self._loop: ForeignLoop | None = None
        self._blocked = 0
        """Number of checks that have blocked their event loop."""
        self._engines: dict[str, tuple[str, ...]] = {}
        """The engines that the assertion asks. The keys are the options of the assertion."""

    def engines(self, options: Options) -> tuple[str, ...]:
        """Return which engines the assertion asks with these options. The first call blocks."""
        asked = repr(options)
        if asked not in self._engines:
            self._engines[asked] = answer_of_plugin(
                lambda: self._assertion.engines(options),
                self._plugin,
                "which engines it asks",
                tell=self._tell,
            )
        return self._engines[asked]

    def check_expected(self, expected: str | None, options: Options) -> None:
        """Let the assertion check an expected answer. Blocks."""
        answer_of_plugin(
            lambda: self._assertion.check_expected(expected, options),
            self._plugin,
            "whether the expected answer suits it",
            tell=self._tell,
        )

    async def check(self, answer: Answer, options: Options, judge: Judge) -> Verdict:
        """Check an answer. Raises NoVerdict also if the assertion blocks."""
        if self._blocked >= MOST_BLOCKED:
            raise NoVerdict(
                f"The assertion blocked its event loop {MOST_BLOCKED} times, and is not used any more."
            )
        loop = self._loop = self._loop or ForeignLoop()
        there = _JudgeElsewhere(judge)
        try:
            return await loop.call(lambda: self._assertion.check(answer, options, there), watched=True)
        except Blocked as error:
            if self._loop is loop:
                self._loop = None
                self._blocked += 1
            raise NoVerdict(
                f"The assertion blocked its event loop for {BLOCKED_S:g} seconds. Report the error to the author of the assertion."
            ) from error

    def close(self) -> None:
        """End the event loop, and make the assertion release its resources."""
        loop, self._loop = self._loop, None
        if loop is not None:
            loop.end()
        self._assertion.close()


class _JudgeElsewhere:
    """Asks a judge, which belongs to the event loop of the application, from another event loop."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._home = asyncio.get_running_loop()

    async def ask(self, engine: str, messages: tuple[Message, ...]) -> str:
        asked = asyncio.run_coroutine_threadsafe(self._judge.ask(engine, messages), self._home)
        return await asyncio.wrap_future(asked)
