"""The progress of a choice as text. A suite updates the text at most ten times a second."""

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
    """Shows the remarks so far, and the present measurement below them."""

    def __init__(self, show: Callable[[str], None]) -> None:
        """Create a progress text. `show` shows a text on the screen."""
        self._show = show
        self._remarks: list[str] = []
        self._names: Sequence[str] = ()
        self._runner: SuiteRunner | None = None
        self._next = 0.0

    def estimating(self) -> None:
        """Show that memory is being estimated."""
        self._show_present("Estimating the memory.")

    def left_out(self, sentence: str) -> None:
        """Add a remark about an engine that is left out."""
        self._remarks.append(sentence)

    def planned(self, sentence: str) -> None:
        """Add a remark about how the time is divided between the measurements."""
        self._remarks.append(sentence)

    def known(self, answers: int, total: int) -> None:
        """Add a remark about how many answers are known from earlier experiments."""
        self._remarks.append(f"{answers:,} of {total:,} answers known: earlier experiments asked the same.")

    def benching(self, engines: Sequence[str], tests: Sequence[BenchTest]) -> None:
        """Remember the names of the engines, and show that they are loading."""
        del tests
        self._names = engines
        self._show_present("Speed: loading.")

    def bench_step(self, step: BenchStep, left: Sequence[BenchStep]) -> None:
        """Show the step of the speed measurement that begins."""
        self._show_present(f"Speed of {self._names[step.engine]}. Steps left: {len(left)}.")

    def suite(self, runner: SuiteRunner) -> SuiteObserver:
        """Remember the suite's runner, and show that the suite is loading."""
        self._runner = runner
        self._show_present("Suite: loading.")
        return self

    def progressed(self) -> None:
        """Show how many answers and assertions of the suite are done, at most every `_EVERY_S` seconds."""
        if self._runner is None or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + _EVERY_S
        lines = (
            f"  {engine.name}: {engine.done:,} of {engine.total:,} answers, {engine.passed:,} of "
            f"{engine.passed + engine.not_passed:,} assertions passed"
            for engine in self._runner.progress
        )
        self._show_present("\n".join(("Suite", *lines)))

    def comparing(self) -> None:
        """Show that the engines are loading for the measurement of fidelity."""
        self._show_present("Fidelity: loading.")

    def fidelity_step(self, step: FidelityStep) -> None:
        """Show the window of text that is being measured."""
        self._show_present(f"Fidelity: window {step.window} of {step.windows}.")

    def answer_step(self, step: FreeRunningStep) -> None:
        """Show the prompt that is being answered greedily."""
        self._show_present(f"Greedy answers: prompt {step.prompt} of {step.prompts}.")

    def _show_present(self, text: str) -> None:
        self._show("\n\n".join((*self._remarks, text)))
