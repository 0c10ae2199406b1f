"""What came of the runs of an experiment, for each engine."""

from __future__ import annotations

import statistics
from array import array
from collections.abc import Sequence
from dataclasses import dataclass, field

from paragone import Json
from paragone_workbench.experiments.running.saved_runs import SavedRun, saved_runs
from paragone_workbench.store import Experiment, History

__all__ = ["EngineTotals", "engine_totals"]


@dataclass(slots=True, kw_only=True)
class EngineTotals:
    """The finished runs of an engine. It keeps 16 bytes a run, for the medians."""

    engine: str
    total: int
    """Number of runs, unfinished ones included."""
    runs: int = 0
    """Number of finished runs, failed ones included."""
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
    """Number of runs that failed, or whose assertions all passed but for some that gave no verdict."""
    seconds: float = 0.0
    """Seconds that the runs took."""
    tokens: int = 0
    """Number of generated tokens."""
    ttft_s: array[float] = field(default_factory=lambda: array("d"))
    decode_tps: array[float] = field(default_factory=lambda: array("d"))

    def add(self, run: SavedRun) -> None:
        """Count a run."""
        self.runs += 1
        self.failed += run.record.state == "failed"
        self.asserted += len(run.results)
        self.passed += sum(it.passed is True for it in run.results)
        self.undecided += sum(it.passed is None for it in run.results)
        not_passed = any(it.passed is False for it in run.results)
        self.not_passed += not_passed
        undecided = any(it.passed is None for it in run.results)
        self.errors += run.record.state == "failed" or (undecided and not not_passed)
        self.seconds += run.seconds
        metrics = run.record.metrics
        if metrics is not None and run.record.state == "done":
            self.tokens += metrics.completion_tokens
            for values, value in ((self.ttft_s, metrics.ttft_s), (self.decode_tps, metrics.decode_tps)):
                if value is not None:
                    values.append(value)

    @property
    def mean_tokens(self) -> float | None:
        """Mean number of generated tokens of the runs that did not fail."""
        done = self.runs - self.failed
        return self.tokens / done if done else None

    @property
    def median_ttft_s(self) -> float | None:
        """Median time to first token, in seconds."""
        return statistics.median(self.ttft_s) if self.ttft_s else None

    @property
    def median_decode_tps(self) -> float | None:
        """Median decode rate, in tokens per second."""
        return statistics.median(self.decode_tps) if self.decode_tps else None

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
            "median_ttft_s": self.median_ttft_s,
            "median_decode_tps": self.median_decode_tps,
        }


async def engine_totals(
    history: History, experiment: Experiment, chosen: frozenset[int] | None = None
) -> Sequence[EngineTotals]:
    """Return what came of the runs of the chosen prompts, in the order of the engines. Raises StoreError."""
    prompts = experiment.prompts if chosen is None else len(chosen)
    totals = [
        EngineTotals(engine=engine.name, total=prompts * experiment.repetitions)
        for engine in experiment.engines
    ]
    async for run in saved_runs(history, experiment, chosen):
        totals[run.key.engine_index].add(run)
    return totals
