"""The prompts of an experiment with their runs, read from the history one prompt at a time."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator
from itertools import groupby

from paragone import Message
from paragone_workbench.experiments.report.content import Check, Fact, PromptView
from paragone_workbench.experiments.report.parts.answers import answers_side_by_side
from paragone_workbench.experiments.report.public_text import public
from paragone_workbench.experiments.report.table import TableRow
from paragone_workbench.experiments.running.saved_runs import SavedRun
from paragone_workbench.experiments.suites.assertions import AssertionResult
from paragone_workbench.experiments.suites.saved_prompts import saved_prompt
from paragone_workbench.store import Experiment, RunKey, Store
from paragone_workbench.visible_text import visible

__all__ = ["REPETITIONS_SHOWN", "ExperimentPrompts"]

REPETITIONS_SHOWN = 5
"""Largest number of repetitions that are shown of a prompt."""


class ExperimentPrompts:
    """The prompts and runs of an experiment."""

    def __init__(self, store: Store, experiment: Experiment) -> None:
        self._runs = functools.partial(store.experiments.runs, experiment.number)
        self._store = store
        self._experiment = experiment

    @functools.cached_property
    def indices(self) -> list[int]:
        """The indices of all prompts, in order."""
        return [index for index, _ in self._store.experiments.prompts(self._experiment.number)]

    def views(self, indices: Iterable[int]) -> Iterator[PromptView]:
        """Yield the prompts with these indices, with their answers."""
        return map(self._view, indices)

    def rows(self) -> Iterator[TableRow]:
        """Yield all runs as rows of a table."""
        for index, runs in groupby(map(SavedRun.of, self._runs()), lambda run: run.key.prompt_index):
            text = saved_prompt(self._store, self._experiment.number, index).text
            for run in runs:
                yield TableRow(
                    result=run.result,
                    id=f"e{self._experiment.number}/{run.number}",
                    engine=run.result.definition.name,
                    prompt_index=index,
                    repetition=run.key.repetition,
                    prompt=text,
                    passed=run.passed,
                    failed_assertions="; ".join(run.reasons(passed=False)),
                )

    def _view(self, index: int) -> PromptView:
        prompt = saved_prompt(self._store, self._experiment.number, index)
        most = len(self._experiment.engines) * self._experiment.repetitions
        before = RunKey(prompt_index=index, engine_index=-1, repetition=-1)
        rounds: dict[int, list[SavedRun]] = {}
        for run in map(SavedRun.of, self._runs(after=before, limit=most)):
            if run.key.prompt_index == index and run.key.repetition < REPETITIONS_SHOWN:
                rounds.setdefault(run.key.repetition, []).append(run)
        left_out = self._experiment.repetitions - REPETITIONS_SHOWN
        return PromptView(
            number=index,
            title=f"#{index}",
            messages=tuple(
                Message(role=message.role, text=visible(message.text)) for message in prompt.messages
            ),
            facts=tuple(
                Fact(name=name, value=visible(value))
                for name, value in (("Expected", prompt.expected), ("Tags", ", ".join(prompt.tags)))
                if value
            ),
            rounds=tuple(
                answers_side_by_side(
                    [(run.result.definition.name, run.result) for run in rounds[repetition]],
                    checks=[tuple(map(_check, run.checks)) for run in rounds[repetition]],
                )
                for repetition in sorted(rounds)
            ),
            left_out=f"{left_out:,} more repetitions are not shown. The CSV and JSON files have all."
            if left_out > 0
            else "",
        )


def _check(result: AssertionResult) -> Check:
    return Check(
        name=public(result.type),
        result="unknown" if result.passed is None else "passed" if result.passed else "failed",
        reason=public(result.reason),
    )
