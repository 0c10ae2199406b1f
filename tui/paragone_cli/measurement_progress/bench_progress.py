"""The progress of a bench: a bar with the time left."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence

from paragone.wording import counted
from paragone_cli.command_line.formats import bar, duration
from paragone_cli.command_line.status_line import StatusLine
from paragone_workbench.measure.bench.plan import BenchStep, BenchTest, UsersTest


class BenchProgress(StatusLine):
    """A bar on a status line, with the time left."""

    def __init__(self, engines: Sequence[str], tests: Sequence[BenchTest]) -> None:
        super().__init__()
        self._engines = engines
        self._tests = tests
        self._total = 0
        self._current: tuple[BenchStep, float] | None = None
        self._took: defaultdict[tuple[int, BenchTest | None], list[float]] = defaultdict(list)
        self.show("loading")

    def begin(self, step: BenchStep, left: Sequence[BenchStep]) -> None:
        """Show a step that begins."""
        now = time.monotonic()
        if self._current is not None:
            last, began = self._current
            self._took[last.engine, last.test].append(now - began)
        self._current = step, now
        self._total = max(self._total, len(left))
        text = f"{bar(self._total - len(left), self._total)} "
        if self._took:
            text += f"{duration(sum(map(self._estimate, left)))} left · "
        test = step.test
        if test is None:
            text += "warm-up"
        elif isinstance(test, UsersTest):
            text += f"prompt {test.prompt_tokens:,}, {counted(test.users, 'user')}"
        else:
            text += f"prompt {test.prompt_tokens:,}, depth {test.depth:,}, run {step.repetition + 1}"
        self.show(f"{text} · {self._engines[step.engine]}")

    def _estimate(self, step: BenchStep) -> float:
        """Return the expected seconds of a step: the mean of the finished steps with the same engine and test.

        If no such step is finished, the mean time per token of all finished steps is used.
        """
        if known := self._took.get((step.engine, step.test)):
            return sum(known) / len(known)
        seconds = sum(map(sum, self._took.values()))
        tokens = sum(self._tokens(test) * len(took) for (_, test), took in self._took.items())
        return seconds / tokens * self._tokens(step.test)

    def _tokens(self, test: BenchTest | None) -> int:
        return (test or self._tests[0]).total
