"""Reads the finished runs of an experiment from the history, some at a time."""

from __future__ import annotations

import functools
from collections.abc import AsyncGenerator, Iterable
from dataclasses import dataclass

from paragone import Json
from paragone.assertions import Answer
from paragone.wire import from_json, to_json
from paragone_workbench.experiments.suites.assertions import AssertionResult
from paragone_workbench.runs.metrics import figures_json
from paragone_workbench.runs.result import RunResult
from paragone_workbench.store import Experiment, ExperimentRun, History, RunKey, Store
from paragone_workbench.store.retry import retrying

__all__ = ["SavedRun", "answer_of", "experiment_runs", "results_json", "saved_runs"]

PAGE = 100
"""Runs in memory at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedRun:
    """A finished run, with the results of its assertions."""

    key: RunKey
    number: int
    """The 17 in `e3/17`, which people type."""
    result: RunResult
    checks: tuple[AssertionResult, ...]
    """The results of the assertions."""

    @classmethod
    def of(cls, run: ExperimentRun) -> SavedRun:
        """Return a run that was read from the history."""
        results = tuple(from_json(AssertionResult, it) for it in run.assertions)
        return cls(key=run.key, number=run.number, result=run.result, checks=results)

    @property
    def passed(self) -> bool | None:
        """Whether all assertions passed; None if there are none, or if one gave no verdict."""
        return all(it.passed for it in self.checks) if self.checks and not self.is_undecided else None

    @property
    def is_undecided(self) -> bool:
        """Whether an assertion gave no verdict, whatever the others found."""
        return any(it.passed is None for it in self.checks)

    @property
    def is_clean(self) -> bool:
        """Whether the run did not fail and all assertions passed."""
        return self.result.state == "done" and all(it.passed is True for it in self.checks)

    @property
    def seconds(self) -> float:
        """Seconds from when the run was handed to its engine until it ended."""
        return max(0.0, (self.result.ended or 0.0) - self.result.started)

    def to_json(self) -> dict[str, Json]:
        """Return the run as `paragone suite run --json` prints it."""
        result = self.result
        return {
            "prompt_index": self.key.prompt_index,
            "engine": result.definition.name,
            "repetition": self.key.repetition,
            "text": result.text,
            "error": result.message if result.error else None,
            "assertions": [
                {
                    "type": it.type,
                    "passed": it.passed,
                    "reason": it.reason,
                    "score": it.score,
                    "judges": it.judges or None,
                }
                for it in self.checks
            ],
            **figures_json(result.metrics),
        }


async def saved_runs(
    history: History, experiment: Experiment, chosen: frozenset[int] | None = None
) -> AsyncGenerator[SavedRun, None]:
    """Yield the finished runs in the order prompt, engine, repetition; those of the chosen prompts only.

    Raises StoreError.
    """
    async for run in experiment_runs(history, experiment):
        if chosen is None or run.key.prompt_index in chosen:
            yield SavedRun.of(run)


async def experiment_runs(history: History, experiment: Experiment) -> AsyncGenerator[ExperimentRun, None]:
    """Yield the finished runs in the same order, with their assertions as the history has them. Raises StoreError."""
    last: RunKey | None = None
    while True:
        after = last

        def read(store: Store, after: RunKey | None = after) -> list[ExperimentRun]:
            return list(store.experiments.runs(experiment.number, after=after, limit=PAGE))

        page = await retrying(functools.partial(history.call, read))
        for run in page:
            yield run
        if len(page) < PAGE:
            return
        last = page[-1].key


def results_json(results: Iterable[AssertionResult]) -> list[Json]:
    """Return results of assertions as the history keeps them."""
    return [to_json(result) for result in results]


def answer_of(result: RunResult, *, total_s: float | None = None) -> Answer:
    """Return an answer as assertions see it, without its prompt."""
    metrics = result.metrics
    return Answer(
        text=result.text,
        thinking=result.thinking,
        finish_reason=result.finish,
        completion_tokens=metrics.completion_tokens if metrics is not None else None,
        ttft_s=metrics.ttft_s if metrics is not None else None,
        total_s=total_s,
        decode_tps=metrics.decode_tps if metrics is not None else None,
    )
