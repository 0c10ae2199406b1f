"""The events of a choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from paragone_workbench.experiments.running.progress import SuiteObserver
from paragone_workbench.experiments.running.runner import SuiteRunner
from paragone_workbench.measure.bench.plan import BenchStep, BenchTest

if TYPE_CHECKING:
    from paragone_workbench.measure.fidelity.measurement import FidelityStep
    from paragone_workbench.measure.free_running import FreeRunningStep


class ChoiceObserver:
    """Gets the events of a choice, on the event loop. Override the methods of interest."""

    def estimating(self) -> None:
        """The memory of the engines is estimated now."""

    def left_out(self, sentence: str) -> None:
        """An engine is left out; `sentence` says why."""

    def known(self, answers: int, total: int) -> None:
        """`answers` of the suite's `total` answers are known from other experiments."""

    def benching(self, engines: Sequence[str], tests: Sequence[BenchTest]) -> None:
        """The speed of `engines` is measured now, by `tests`."""

    def bench_step(self, step: BenchStep, left: Sequence[BenchStep]) -> None:
        """A step of the bench begins. `left` are the remaining steps, including this one."""

    def suite(self, runner: SuiteRunner) -> SuiteObserver:
        """The suite, or a part of it, runs now. Returns the observer that gets the suite's events."""
        return SuiteObserver()

    def comparing(self) -> None:
        """The fidelity is measured now."""

    def fidelity_step(self, step: FidelityStep) -> None:
        """A step of the measurement of fidelity begins."""

    def answer_step(self, step: FreeRunningStep) -> None:
        """A greedy answer begins."""

    def deciding(self) -> None:
        """All measurements have ended."""
