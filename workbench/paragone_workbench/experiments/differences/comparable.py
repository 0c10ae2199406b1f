"""The runs of one or more experiments as rows of a comparison."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, groupby

from paragone.wire import to_json
from paragone_workbench.experiments.differences.suite_values import SuiteRow
from paragone_workbench.experiments.suites.saved_prompts import saved_prompts
from paragone_workbench.experiments.suites.suite import SuitePrompt
from paragone_workbench.runs.result import RunResult
from paragone_workbench.store import Experiment, Store
from paragone_workbench.store.errors import StoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparable:
    """The runs of experiments, for a comparison.

    Attributes:
        engines: The names of all engines.
        rows: All runs. Iterating over the runs can raise StoreError.
        groups: The names of the engines of each experiment, if there are several experiments. Engines of one
            experiment are then not compared with each other.
    """

    engines: tuple[str, ...]
    rows: Iterator[SuiteRow]
    groups: tuple[tuple[str, ...], ...] = ()


def comparable(store: Store, experiments: Sequence[Experiment]) -> Comparable:
    """Return the engines and runs of the experiments.

    With several experiments, the experiment's id follows the name of an engine, and prompts with the same messages
    and the same expected answer are the same prompt.
    """
    several = len(experiments) > 1
    groups = tuple(
        tuple(engine_name(experiment, engine.name, several=several) for engine in experiment.engines)
        for experiment in experiments
    )
    return Comparable(
        engines=tuple(chain.from_iterable(groups)),
        rows=_rows(store, experiments, several=several),
        groups=groups if several else (),
    )


def _rows(store: Store, experiments: Sequence[Experiment], *, several: bool) -> Iterator[SuiteRow]:
    numbers: dict[str, int] = {}
    for experiment in experiments:
        saved = saved_prompts(store, experiment.number)
        prompts = numbered_prompts(saved, numbers) if several else enumerate(saved)
        # Prompts and runs are both read in the order of the prompts, so that none must be kept in memory.
        for index, runs in groupby(
            store.experiments.runs(experiment.number), lambda run: run.key.prompt_index
        ):
            found = next((item for item in prompts if item[1].index == index), None)
            if found is None:
                raise StoreError(
                    f"Experiment e{experiment.number} lacks the prompt #{index} that it has runs of."
                )
            number, prompt = found
            for run in runs:
                yield SuiteRow(
                    prompt_index=number,
                    repetition=run.key.repetition,
                    engine=engine_name(experiment, run.result.definition.name, several=several),
                    passed=run.passed,
                    undecided=run.is_undecided,
                    unjudged=len(run.checks) < len(prompt.assertions),
                    scores=run.scores,
                    metrics=run.result.metrics,
                    text=run.result.text,
                    sampled=_is_sampled(run.result),
                    started=run.result.started,
                    failed=run.result.state == "failed",
                )


def engine_name(experiment: Experiment, engine: str, *, several: bool) -> str:
    """Return the name of an engine of an experiment; with the experiment's id, if there are several experiments."""
    return f"{engine} (e{experiment.number})" if several else engine


def numbered_prompts(
    prompts: Iterable[SuitePrompt], numbers: dict[str, int]
) -> Iterator[tuple[int, SuitePrompt]]:
    """Yield the numbered prompts of an experiment. A prompt has the same number in all experiments.

    `numbers` holds the numbers of all prompts so far; the numbers of new prompts are added.
    """
    repeated: Counter[str] = Counter()
    for prompt in prompts:
        compared = [[to_json(message) for message in prompt.messages], prompt.expected]
        digest = hashlib.sha256(json.dumps(compared).encode()).hexdigest()
        repeated[digest] += 1
        yield numbers.setdefault(f"{digest} {repeated[digest]}", len(numbers)), prompt


def _is_sampled(record: RunResult) -> bool:
    """Return whether the settings in force have a temperature above 0."""
    sampling = record.settings.sampling if record.settings is not None else None
    temperature = sampling.get("temperature") if sampling is not None else None
    return isinstance(temperature, int | float) and temperature > 0
