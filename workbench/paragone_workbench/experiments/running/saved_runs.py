"""Reads the finished runs of an experiment from the history, page by page."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from paragone.assertions import Answer
from paragone_workbench.runs.result import RunResult
from paragone_workbench.store import Experiment, ExperimentRun, History, RunKey, Store
from paragone_workbench.store.retry import retrying

PAGE = 100
"""Number of runs in memory at a time."""


async def saved_runs(
    history: History, experiment: Experiment, chosen: frozenset[int] | None = None
) -> AsyncGenerator[ExperimentRun, None]:
    """Yield the finished runs in the order prompt, engine, repetition; with `chosen`, only the runs of these prompts.

    Raises StoreError.
    """
    last: RunKey | None = None

    def read(store: Store) -> list[ExperimentRun]:
        return list(store.experiments.runs(experiment.number, after=last, limit=PAGE))

    while page := await retrying(history, read):
        for run in page:
            if chosen is None or run.key.prompt_index in chosen:
                yield run
        last = page[-1].key


def answer_of(result: RunResult, *, total_s: float | None = None) -> Answer:
    """Return the answer of a run as the value that assertions check, without the prompt.

    `total_s` is the measured duration of the run in seconds. For a saved run, the duration is computed from the saved times.
    """
    metrics = result.metrics
    if total_s is None and result.waited_s is not None and result.ended is not None:
        total_s = max(0.0, result.ended - result.started - result.waited_s)
    return Answer(
        text=result.text,
        thinking=result.thinking,
        finish_reason=result.finish,
        completion_tokens=metrics.completion_tokens if metrics is not None else None,
        ttft_s=metrics.ttft_s if metrics is not None else None,
        total_s=total_s,
        decode_tps=metrics.decode_tps if metrics is not None else None,
    )
