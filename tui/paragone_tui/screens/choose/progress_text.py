"""The progress of a choice as text, which is shown ten times a second at most."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from paragone_workbench.choosing.observer import ChoiceObserver
from paragone_workbench.experiments.running.progress import SuiteObserver

if TYPE_CHECKING:
    from paragone_workbench.experiments.running.runner import SuiteRunner
    from paragone_workbench.measure.bench.plan import BenchStep, BenchTest
    from paragone_workbench.measure.fidelity.measurement import FidelityStep
    from paragone_workbench.measure.free_running import FreeRunningStep

_EVERY_S = 0.1


class ProgressText(ChoiceObserver, SuiteObserver):
    """Shows the present measurement below what was said so far."""

    def __init__(self, show: Callable[[str], None]) -> None:
        """Show texts with this function."""
        self._show = show
        self._said: list[str] = []
        self._names: Sequence[str] = ()
        self._runner: SuiteRunner | None = None
        self._next = 0.0

    def estimating(self) -> None:
        """Say what is being done."""
        self._now("Estimating the memory.")

    def left_out(self, sentence: str) -> None:
        """Say which engine is left out."""
        self._said.append(sentence)

    def planned(self, sentence: str) -> None:
        """Show how the time is divided."""
        self._said.append(sentence)

    def known(self, answers: int, total: int) -> None:
        """Say how many answers are known."""
        self._said.append(f"{answers:,} of {total:,} answers known: earlier experiments asked the same.")

    def benching(self, engines: Sequence[str], tests: Sequence[BenchTest]) -> None:
        """Remember the names."""
        del tests
        self._names = engines
        self._now("Speed: loading.")

    def bench_step(self, step: BenchStep, left: Sequence[BenchStep]) -> None:
        """Show the step."""
        self._now(f"Speed of {self._names[step.engine]}. Steps left: {len(left)}.")

    def suite(self, runner: SuiteRunner) -> SuiteObserver:
        """Show the suite."""
        self._runner = runner
        self._now("Suite: loading.")
        return self

    def progressed(self) -> None:
        """Show how many answers there are, at a limited rate."""
        if self._runner is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY_S
        lines = (
            f"  {engine.name}: {engine.done:,} of {engine.total:,} answers, {engine.passed:,} of "
            f"{engine.passed + engine.not_passed:,} assertions passed"
            for engine in self._runner.progress
        )
        self._now("\n".join(("Suite", *lines)))

    def comparing(self) -> None:
        """Say what is being done."""
        self._now("Fidelity: loading.")

    def fidelity_step(self, step: FidelityStep) -> None:
        """Show the step."""
        self._now(f"Fidelity: window {step.window} of {step.windows}.")

    def answer_step(self, step: FreeRunningStep) -> None:
        """Show the step."""
        self._now(f"Greedy answers: prompt {step.prompt} of {step.prompts}.")

    def _now(self, text: str) -> None:
        self._show("\n\n".join((*self._said, text)))
