"""Recorded runs with everything that a repetition needs."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from dataclasses import dataclass

from paragone import InputError, Message
from paragone_workbench.experiments.ids import parse_id
from paragone_workbench.experiments.suites.saved_prompts import saved_prompt, saved_prompts
from paragone_workbench.experiments.suites.suite import SuitePrompt
from paragone_workbench.runs.context import request_of
from paragone_workbench.runs.result import RunResult
from paragone_workbench.store import ExperimentRun, History, Store


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordedRun:
    """A run that has ended, and the messages that were sent to the engine."""

    id: str
    """`r45`, or `e3/17` for a run of an experiment."""
    result: RunResult
    messages: tuple[Message, ...]


async def recorded_runs(history: History, text: str) -> tuple[RecordedRun, ...]:
    """Return the run, or all runs of the conversation or experiment, with this id.

    Raises StoreError, and InputError if the history has nothing with this id.
    """
    found = parse_id(text)
    if found is None:
        raise InputError(f"{text!r} is not the id of a run, a conversation or an experiment.")
    if found.kind == "e":
        return await history.call(functools.partial(_of_experiment, found.number, found.run))
    conversation_id = found.number
    if found.kind == "r":
        conversation_id = await history.call(lambda store: store.conversation_of(found.number))
    saved = await history.load(conversation_id)
    return tuple(
        RecordedRun(
            id=f"r{run.number}",
            result=run.result,
            messages=request_of(run),
        )
        for run in saved.runs
        if found.kind == "c" or run.number == found.number
    )


def _of_experiment(experiment_id: int, run_id: int | None, store: Store) -> tuple[RecordedRun, ...]:
    experiments = store.experiments
    experiments.get(experiment_id)  # raises InputError if the experiment does not exist
    if run_id is None:
        runs: Iterable[ExperimentRun] = experiments.runs(experiment_id)
        prompts: Iterable[SuitePrompt] = saved_prompts(store, experiment_id)
    else:
        run = experiments.run(experiment_id, run_id)
        runs, prompts = [run], [saved_prompt(store, experiment_id, run.key.prompt_index)]
    messages = {prompt.index: prompt.messages for prompt in prompts}
    return tuple(
        RecordedRun(
            id=f"e{experiment_id}/{run.number}",
            result=run.result,
            messages=messages.get(run.key.prompt_index, ()),
        )
        for run in runs
    )
