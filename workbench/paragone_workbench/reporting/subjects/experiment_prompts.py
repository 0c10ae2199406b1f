"""The prompts of an experiment with their runs, read from the history one prompt at a time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from itertools import groupby

from paragone import Message
from paragone_workbench.experiments.suites.saved_prompts import saved_prompt
from paragone_workbench.reporting.content import Fact, PromptView
from paragone_workbench.reporting.parts.answers import answers_side_by_side
from paragone_workbench.reporting.public_text import public
from paragone_workbench.reporting.table import TableRow
from paragone_workbench.store import Experiment, ExperimentRun, Store
from paragone_workbench.store.experiment_records import AssertionResult
from paragone_workbench.visible_text import visible

REPETITIONS_SHOWN = 5
"""Largest number of repetitions of a prompt that a report shows."""


def experiment_rows(store: Store, experiment: Experiment) -> Iterator[TableRow]:
    """Yield all runs of an experiment as rows of a table."""
    runs = store.experiments.runs(experiment.number)
    for index, of_prompt in groupby(runs, lambda run: run.key.prompt_index):
        prompt = saved_prompt(store, experiment.number, index)
        for run in of_prompt:
            yield TableRow(
                result=run.result,
                id=f"e{experiment.number}/{run.number}",
                engine=run.result.definition.name,
                prompt_index=index,
                repetition=run.key.repetition,
                prompt=prompt.text,
                tags=prompt.tags,
                expected=prompt.expected,
                passed=run.passed,
                failed_assertions="; ".join(run.reasons(passed=False)),
                scores=run.scores,
            )


def prompt_view(store: Store, experiment: Experiment, index: int, *, folded: bool, sound: bool) -> PromptView:
    """Return the prompt with this index, with its answers. `sound` says that no run and no assertion failed at this prompt."""
    prompt = saved_prompt(store, experiment.number, index)
    rounds: dict[int, list[ExperimentRun]] = {}
    for run in store.experiments.runs_of_prompt(experiment.number, index):
        if run.key.repetition < REPETITIONS_SHOWN:
            rounds.setdefault(run.key.repetition, []).append(run)
    left_out = experiment.repetitions - REPETITIONS_SHOWN
    return PromptView(
        number=index,
        title=f"#{index}",
        messages=tuple(Message(role=message.role, text=visible(message.text)) for message in prompt.messages),
        facts=tuple(
            Fact(name=name, value=visible(value))
            for name, value in (("Expected", prompt.expected), ("Tags", ", ".join(prompt.tags)))
            if value
        ),
        rounds=tuple(
            answers_side_by_side(
                [(run.result.definition.name, run.result) for run in runs],
                checks=[tuple(map(_public, run.checks)) for run in runs],
            )
            for _, runs in sorted(rounds.items())
        ),
        left_out=f"{left_out:,} more repetitions are not shown. The CSV and JSON files have all."
        if left_out > 0
        else "",
        folded=folded,
        sound=sound,
    )


def _public(check: AssertionResult) -> AssertionResult:
    return dataclasses.replace(check, type=public(check.type), reason=public(check.reason))
