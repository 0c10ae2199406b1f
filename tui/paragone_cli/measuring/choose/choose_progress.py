"""The progress of a choice on standard error: each measurement has the display that its own command has."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import TypeVar

from paragone.wording import counted
from paragone_cli.command_line.output import note
from paragone_cli.command_line.status_line import StatusLine
from paragone_cli.measurement_progress.bench_progress import BenchProgress
from paragone_cli.measurement_progress.fidelity_progress import FidelityProgress
from paragone_cli.measurement_progress.suite_table import SuiteTable, known_text
from paragone_workbench.choosing.observer import ChoiceObserver
from paragone_workbench.experiments.running.runner import SuiteRunner
from paragone_workbench.measure.bench.plan import BenchStep, BenchTest
from paragone_workbench.measure.fidelity.measurement import FidelityStep
from paragone_workbench.measure.free_running import FreeRunningStep

L = TypeVar("L", bound=StatusLine)


class ChooseProgress(ChoiceObserver):
    """Shows the display of each measurement while it runs."""

    def __init__(self) -> None:
        self._shown = contextlib.ExitStack()
        self._bench: BenchProgress | None = None
        self._fidelity: FidelityProgress | None = None
        self._rounds = 0

    def __enter__(self) -> ChooseProgress:
        return self

    def __exit__(self, *error: object) -> None:
        self._shown.close()

    def estimating(self) -> None:
        """Show that the memory is being estimated."""
        self._show(StatusLine()).show("estimating the memory")

    def left_out(self, sentence: str) -> None:
        """Print which engine is left out."""
        self._note(sentence)

    def known(self, answers: int, total: int) -> None:
        """Print how many answers are taken over from earlier experiments."""
        self._note(known_text(answers, total))

    def benching(self, engines: Sequence[str], tests: Sequence[BenchTest]) -> None:
        """Show a bar."""
        self._bench = self._show(BenchProgress(engines, tests))

    def bench_step(self, step: BenchStep, left: Sequence[BenchStep]) -> None:
        """Show the step."""
        if self._bench is not None:
            self._bench.begin(step, left)

    def suite(self, runner: SuiteRunner) -> SuiteTable:
        """Show a table."""
        if self._rounds and runner.request.chosen is not None:
            self._note(f"The question is open: {counted(len(runner.request.chosen), 'more prompt')}.")
        self._rounds += 1
        table = self._show(SuiteTable())
        table.engines = runner.progress
        return table

    def comparing(self) -> None:
        """Show a bar."""
        self._fidelity = self._show(FidelityProgress())

    def fidelity_step(self, step: FidelityStep) -> None:
        """Show the step."""
        if self._fidelity is not None:
            self._fidelity.begin(step)

    def answer_step(self, step: FreeRunningStep) -> None:
        """Show the answer."""
        if self._fidelity is not None:
            self._fidelity.answer(step)

    def deciding(self) -> None:
        """Remove the display."""
        self._shown.close()

    def _show(self, line: L) -> L:
        self._shown.close()
        self._shown.enter_context(line)
        return line

    def _note(self, sentence: str) -> None:
        self._shown.close()
        note(sentence)
