"""The progress of a suite, for a display."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from paragone import ParagoneError
from paragone_workbench.experiments.running.executing.executor import EngineActivity
from paragone_workbench.runs.result import RunResult
from paragone_workbench.scheduling.scheduler import Scheduler
from paragone_workbench.store.experiment_records import AssertionResult, RunCount


@dataclass(slots=True, kw_only=True, eq=False)
class EngineProgress:
    """The progress of an engine, including the runs that earlier commands finished."""

    name: str
    total: int = 0
    """Number of runs."""
    done: int = 0
    """Number of finished runs, including failed runs."""
    failed: int = 0
    """Number of failed runs."""
    passed: int = 0
    """Number of assertions that passed."""
    not_passed: int = 0
    """Number of assertions that failed."""
    undecided: int = 0
    """Number of assertions that gave no verdict."""
    now: int = 0
    """Number of runs that this command has finished."""
    began: float | None = None
    """When this command began the first run, on the monotonic clock."""
    engine: EngineActivity | None = None
    """The engine that executes the runs; None if all runs were finished before."""

    @property
    def given_up(self) -> ParagoneError | None:
        """Why the engine's remaining runs are not executed; None if the remaining runs are executed."""
        return self.engine.given_up if self.engine is not None else None

    @property
    def left(self) -> int:
        """Number of runs still to be executed."""
        return 0 if self.given_up is not None else self.total - self.done

    def count(self, run: RunResult, results: Sequence[AssertionResult]) -> None:
        """Count a run that this command has finished."""
        self.done += 1
        self.now += 1
        self.failed += run.state == "failed"
        self.count_results(results)

    def count_saved(self, saved: RunCount) -> None:
        """Count runs that earlier commands have finished."""
        self.done += saved.runs
        self.failed += saved.runs if saved.state == "failed" else 0
        self.passed += saved.passed
        self.not_passed += saved.not_passed
        self.undecided += saved.undecided

    def count_results(
        self, results: Sequence[AssertionResult], *, instead_of: Sequence[AssertionResult] = ()
    ) -> None:
        """Count results of assertions, and subtract the replaced results, `instead_of`."""
        for sign, counted in ((1, results), (-1, instead_of)):
            self.passed += sign * sum(result.passed is True for result in counted)
            self.not_passed += sign * sum(result.passed is False for result in counted)
            self.undecided += sign * sum(result.passed is None for result in counted)

    def tokens_per_second(self, now: float) -> float | None:
        """Return the rate in tokens per second at the time `now`, or else the rate of the last answer; None if unknown."""
        return None if self.engine is None else self.engine.tokens_per_second(now)


class SuiteObserver:
    """Gets the events of a suite, on the event loop. Override the methods of interest."""

    def scheduled(self, scheduler: Scheduler) -> None:
        """The order of the runs is decided."""

    def counted(self, taken: int, total: int) -> None:
        """The finished runs were counted. `taken` of `total` runs were just taken over from other experiments."""

    def progressed(self) -> None:
        """An engine or a run has progressed. Called often."""

    def remarked(self, sentence: str) -> None:
        """`sentence` reports an event after which all runs can still be finished, such as the loss of a node."""

    def digesting(self, path: str) -> None:
        """The runs have ended, and the digest of the file of weights at `path` is computed now."""

    def judging(self, names: Sequence[str]) -> None:
        """The runs have ended, and the engines `names` judge the answers now."""


def seconds_left(engines: Sequence[EngineProgress], *, at_once: bool) -> float | None:
    """Return the expected seconds until all runs are finished; None before the first run is finished.

    `at_once` says whether the engines answer at the same time.
    """
    now = time.monotonic()
    begun = [(engine, now - engine.began) for engine in engines if engine.began is not None and engine.now]
    if not begun:
        return None
    if at_once:
        return max(elapsed / engine.now * engine.left for engine, elapsed in begun)
    elapsed = max(elapsed for _, elapsed in begun)
    return elapsed / sum(engine.now for engine, _ in begun) * sum(engine.left for engine in engines)
