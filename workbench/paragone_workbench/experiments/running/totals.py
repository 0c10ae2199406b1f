"""The totals of the runs of an experiment, for each engine."""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from paragone import Json
from paragone_workbench.experiments.running.saved_runs import saved_runs
from paragone_workbench.store import Experiment, ExperimentRun, History


@dataclass(slots=True, kw_only=True)
class SpeedTotals:
    """The values of a time or a rate of runs, in 8 bytes a run.

    Runs that shared the machine or a server are slower, so the values of such runs are used only if there are no other runs.
    """

    alone: array[float] = field(default_factory=lambda: array("d"))
    """The values of the runs that shared neither the machine nor a server."""
    shared: array[float] = field(default_factory=lambda: array("d"))
    """The values of the runs that shared the machine or their server."""

    def add(self, value: float | None, *, shared: bool) -> None:
        """Add the value of a run; None for an unknown value."""
        if value is not None:
            (self.shared if shared else self.alone).append(value)

    @property
    def median(self) -> float | None:
        """Median of `alone`, or of `shared` if all runs shared the machine or a server; None without values."""
        values = self.alone or self.shared
        return statistics.median(values) if values else None

    @property
    def are_shared(self) -> bool:
        """Whether there are values, all from runs that shared the machine or the server."""
        return bool(self.shared) and not self.alone


@dataclass(slots=True, kw_only=True)
class EngineTotals:
    """The totals of an engine's finished runs, in 16 bytes a run, which the medians need."""

    engine: str
    total: int
    """Number of runs, including unfinished runs."""
    runs: int = 0
    """Number of finished runs, including failed runs."""
    failed: int = 0
    """Number of failed runs."""
    asserted: int = 0
    """Number of results of assertions."""
    passed: int = 0
    """Number of assertions that passed."""
    undecided: int = 0
    """Number of assertions that gave no verdict."""
    not_passed: int = 0
    """Number of runs with an assertion that failed."""
    errors: int = 0
    """Number of runs that failed, or of which no assertion failed but at least one gave no verdict."""
    seconds: float = 0.0
    """Seconds that the runs took."""
    tokens: int = 0
    """Number of generated tokens."""
    counted: int = 0
    """Number of runs that did not fail, and whose tokens are counted."""
    ttft_s: SpeedTotals = field(default_factory=SpeedTotals)
    """Times to first token, in seconds."""
    decode_tps: SpeedTotals = field(default_factory=SpeedTotals)
    """Decode rates, in tokens per second."""

    def add(self, run: ExperimentRun) -> None:
        """Count a run."""
        self.runs += 1
        self.failed += run.result.state == "failed"
        self.asserted += len(run.checks)
        self.passed += sum(check.passed is True for check in run.checks)
        self.undecided += sum(check.passed is None for check in run.checks)
        not_passed = any(check.passed is False for check in run.checks)
        self.not_passed += not_passed
        self.errors += run.result.state == "failed" or (run.is_undecided and not not_passed)
        self.seconds += run.seconds
        metrics = run.result.metrics
        if metrics is not None and run.result.state == "done":
            self.counted += 1
            self.tokens += metrics.completion_tokens
            self.ttft_s.add(metrics.ttft_s, shared=bool(metrics.shared))
            self.decode_tps.add(metrics.decode_tps, shared=bool(metrics.shared))

    @property
    def mean_tokens(self) -> float | None:
        """Mean number of generated tokens of the runs that did not fail; None without such runs."""
        return self.tokens / self.counted if self.counted else None

    @property
    def are_times_shared(self) -> bool:
        """Whether a median is over runs that shared the machine or their server."""
        return self.ttft_s.are_shared or self.decode_tps.are_shared

    @property
    def is_clean(self) -> bool:
        """Whether all runs are finished, none failed, and all assertions passed."""
        return self.runs == self.total and not self.failed and self.passed == self.asserted

    def to_json(self) -> dict[str, Json]:
        """Return the figures as JSON."""
        return {
            "engine": self.engine,
            "total": self.total,
            "runs": self.runs,
            "failed": self.failed,
            "asserted": self.asserted,
            "passed": self.passed,
            "undecided": self.undecided,
            "mean_tokens": self.mean_tokens,
            "median_ttft_s": self.ttft_s.median,
            "median_decode_tps": self.decode_tps.median,
            "times_shared": self.are_times_shared,
        }


async def engine_totals(
    history: History, experiment: Experiment, chosen: frozenset[int] | None = None
) -> Sequence[EngineTotals]:
    """Return the totals of the runs of the chosen prompts, in the order of the engines. Raises StoreError."""
    prompts = experiment.prompts if chosen is None else len(chosen)
    totals = [
        EngineTotals(engine=engine.name, total=prompts * experiment.repetitions)
        for engine in experiment.engines
    ]
    async for run in saved_runs(history, experiment, chosen):
        totals[run.key.engine_index].add(run)
    return totals
