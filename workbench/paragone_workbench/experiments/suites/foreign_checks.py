"""Assertions of other authors, each on an event loop of its own."""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections import Counter

from paragone import Message, Options
from paragone.assertions import Answer, AnyAssertion, Judge, NoVerdict
from paragone.threads import in_daemon_thread
from paragone_workbench.engines.foreign.answers import answer
from paragone_workbench.engines.foreign.event_loop import BLOCKED_S, Blocked, ForeignLoop
from paragone_workbench.engines.waiting import Tell

MOST_BLOCKED = 3
"""Number of checks of an assertion that may block the event loop before the assertion is no longer used."""
CLOSING_S = 2.0
"""Seconds within which assertions must release their resources."""


class ForeignChecks:
    """Checks answers with assertions of other authors. An assertion that blocks stops neither the program nor the suite."""

    def __init__(self) -> None:
        self._loops: dict[str, ForeignLoop] = {}
        self._blocked: Counter[str] = Counter()
        self._engines: dict[tuple[str, str], object] = {}
        """The engines that assertions ask, by name and options of the assertion."""

    def engines(self, assertion: AnyAssertion, options: Options, *, tell: Tell) -> object:
        """Return which engines an assertion asks with these options. The first call blocks. Raises the assertion's errors."""
        asked = assertion.name, repr(options)
        if asked not in self._engines:
            plugin, what = _named(assertion), "which engines it asks"
            self._engines[asked] = answer(lambda: assertion.engines(options), plugin, what, tell=tell)
        return self._engines[asked]

    def check_expected(
        self, assertion: AnyAssertion, expected: str | None, options: Options, *, tell: Tell
    ) -> None:
        """Let an assertion check an expected answer. Blocks. Raises the errors of the assertion."""
        what = "whether the expected answer suits it"
        answer(lambda: assertion.check_expected(expected, options), _named(assertion), what, tell=tell)

    async def check(self, assertion: AnyAssertion, answer: Answer, options: Options, judge: Judge) -> object:
        """Check an answer, and return the assertion's finding. Raises the assertion's errors, and NoVerdict for blocking."""
        name = assertion.name
        if self._blocked[name] >= MOST_BLOCKED:
            raise NoVerdict(
                f"The assertion blocked its event loop {MOST_BLOCKED} times, and is not used any more."
            )
        if name not in self._loops:
            self._loops[name] = ForeignLoop()
        loop = self._loops[name]
        there = _JudgeElsewhere(judge)
        try:
            return await loop.call(lambda: assertion.check(answer, options, there), watched=True)
        except Blocked as error:
            if self._loops.get(name) is loop:
                del self._loops[name]
                self._blocked[name] += 1
            raise NoVerdict(
                f"The assertion blocked its event loop for {BLOCKED_S:g} seconds. Report the error to the author of the assertion."
            ) from error

    def close(self, assertions: list[AnyAssertion]) -> None:
        """Make assertions release their resources. The assertions can be used again."""
        loops, self._loops = self._loops, {}
        for loop in loops.values():
            loop.end()
        concurrent.futures.wait([in_daemon_thread(assertion.close) for assertion in assertions], CLOSING_S)


def _named(assertion: AnyAssertion) -> str:
    return f"the assertion {assertion.name}"


class _JudgeElsewhere:
    """Asks a judge, which belongs to the event loop of the application, from another event loop."""

    def __init__(self, judge: Judge) -> None:
        self._judge = judge
        self._home = asyncio.get_running_loop()

    async def ask(self, engine: str, messages: tuple[Message, ...]) -> str:
        """Return the answer of an engine. Raises NoVerdict if the engine cannot answer."""
        asked = asyncio.run_coroutine_threadsafe(self._judge.ask(engine, messages), self._home)
        return await asyncio.wrap_future(asked)
