"""The report of an experiment, whose runs are read from the history prompt by prompt."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import combinations, groupby

from paragone import Message
from paragone.json_values import count_at, objects_at, text_at
from paragone.texts import counted, size_text
from paragone_workbench import blocks
from paragone_workbench.choosing.decision import choice_of, decide_for
from paragone_workbench.engines.definitions import BackendLookup
from paragone_workbench.experiments import comparison_rows, identity, known_measurements, suite
from paragone_workbench.experiments.comparison import MetricComparison, SuiteComparison
from paragone_workbench.reporting import charts, content, verdict
from paragone_workbench.runs.result import RunResult
from paragone_workbench.runs.run import Run
from paragone_workbench.store import Experiment, ExperimentRun, Store
from paragone_workbench.store.experiments import AssertionResult
from paragone_workbench.text import visible

PROMPTS_SHOWN = 100

PROMPTS_OPEN = 1

REPETITIONS_SHOWN = 5

_WORDS = 2_000
"""Number of words of an answer that are compared to order the prompts."""

_COMPARED = (
    "Engines are compared over the prompts that both answered. Intervals are 95% intervals of the mean difference; the "
    "p-values are corrected for the number of comparisons."
)


def experiment_report(store: Store, experiment: Experiment, find: BackendLookup) -> content.ReportContent:
    """Return the report of an experiment. The store must stay open while the report is written. Raises StoreError, and
    InputError if a package for the figures is missing."""
    names = [engine.name for engine in experiment.engines]
    asked: list[tuple[float, float, int]] = []
    values = comparison_rows.collect(
        _watched(comparison_rows.experiment_rows(store, [experiment]), asked), names
    )
    prompts = [(prompt.index, prompt.tags) for prompt in suite.saved_prompts(store, experiment.number)]
    tags = {number: tags for number, (_, tags) in enumerate(prompts)}
    examples, conditions = _first_answers(store, experiment, find)
    weights = {index: run.loaded.weights for index, run in examples.items() if run.loaded is not None}
    identities = {
        engine.name: identity.measured_identity(engine, find(engine.backend), tuple(weights.get(index, ())))
        for index, engine in enumerate(experiment.engines)
    }
    saved = known_measurements.saved_measurements(store)
    choice = choice_of(store, experiment)
    known = known_measurements.known_of(saved, identities, choice.reference, experiment.prompts, choice.suite)
    decision = decide_for(store, choice, names, known, experiment, values, tags)
    loaded = {names[index]: run.loaded for index, run in examples.items() if run.loaded is not None}
    page = verdict.first_page(
        decision, choice, known, experiment, experiment.engines, find, loaded=loaded
    ).shown()
    comparison = decision.comparison
    assert comparison is not None  # `decide_for` compares any number of engines
    passes = [pair for pair in comparison.comparisons if pair.metric == comparison_rows.PASS_RATE]
    concerned = passes or comparison.comparisons
    sections = (
        blocks.Section(
            title="Differences between engines",
            remarks=tuple(
                blocks.Remark(blocks.public(pair.sentence), stands_out=True)
                for pair in concerned
                if pair.shown
            ),
            rest=_other_comparisons(comparison, concerned),
            note=_COMPARED,
        ),
        blocks.Section(title="Pass rates", tables=charts.rates_by_tag(values, tags)),
        blocks.Section(
            title="Pass rates by type of assertion",
            tables=charts.rates_by_assertion(names, store.experiments.assertion_rates(experiment.number)),
            folded=True,
        ),
        blocks.Section(
            title="Results",
            tables=charts.metric_charts(values),
            remarks=tuple(_notes(comparison, experiment)),
            folded=True,
        ),
        *charts.measurements_of(saved, identities),
        *charts.ratings_sections(store.votes.all(experiment.number)),
    )
    shown = heapq.nlargest(PROMPTS_SHOWN, asked)
    numbers = [-minus_number for _, _, minus_number in shown]
    order = ["Prompts with failures come first, then the prompts whose answers differ most."] * (
        len(asked) > 1
    )
    if left_out := len(asked) - len(numbers):
        order.append(
            f"{left_out:,} of {len(asked):,} prompts are not shown. The CSV and JSON files have all."
        )
    first_sound = max(PROMPTS_OPEN, sum(failures > 0 for failures, _, _ in shown))
    return content.ReportContent(
        id=f"e{experiment.number}",
        title=blocks.public(experiment.name),
        summary=" · ".join(
            (
                counted(len(names), "engine"),
                counted(experiment.prompts, "prompt"),
                counted(experiment.repetitions, "repetition"),
            )
        ),
        facts=_facts(experiment, store.experiments.judges(experiment.number)),
        verdict=page,
        overview=page.overview,
        plots=charts.plots_of(
            [replace(it, engine=page.brief[blocks.public(it.engine)]) for it in decision.figures],
            page.brief.get(blocks.public(decision.chosen or "")),
        ),
        engines=tuple(
            content.engine_view(engine.name, engine, examples.get(index), find)
            for index, engine in enumerate(experiment.engines)
        ),
        sections=tuple(section for section in sections if not section.is_empty),
        conditions=conditions,
        prompts=lambda: (
            _prompt(
                store,
                experiment,
                prompts[number][0],
                folded=place >= PROMPTS_OPEN,
                sound=place >= first_sound,
            )
            for place, number in enumerate(numbers)
        ),
        left_out=" ".join(order),
        sound=max(0, len(numbers) - first_sound),
    )


def _watched(
    rows: Iterator[comparison_rows.Answered], found: list[tuple[float, float, int]]
) -> Iterator[comparison_rows.Answered]:
    """Yield the runs, in the order of their prompts, and add a sort key of each prompt to `found`: the share of failed
    runs, how much the answers differ, and the negative number of the prompt, so that earlier prompts come first."""
    for number, group in groupby(rows, lambda row: row[1].key.prompt_index):
        of_prompt = list(group)
        failed = [run.result.state == "failed" or run.passed is False for _, run, _ in of_prompt]
        failures = sum(failed) / len(of_prompt)
        found.append((failures, _difference(of_prompt), -number))
        yield from of_prompt


def _first_answers(
    store: Store, experiment: Experiment, find: BackendLookup
) -> tuple[dict[int, RunResult], blocks.Section | None]:
    """Return a run of each engine that has begun, by the engine's index, and the conditions at the first prompt that
    all answered."""
    names = [engine.name for engine in experiment.engines]
    examples: dict[int, RunResult] = {}
    for _, group in groupby(store.experiments.runs(experiment.number), lambda run: run.key.prompt_index):
        began = {run.key.engine_index: run.result for run in group if run.result.loaded is not None}
        examples = {**began, **examples}
        if len(began) == len(names):
            runs = ((names[index], Run(began[index])) for index in sorted(began))
            return examples, content.conditions_of(runs, find)
    return examples, None


def _facts(experiment: Experiment, judges: Sequence[str]) -> content.Facts:
    failed = f", {experiment.failed:,} failed" if experiment.failed else ""
    machine = experiment.machine  # a description by `describe_machine`
    values = {
        "Begun": blocks.date_text(experiment.created),
        "Schedule": experiment.schedule,
        "Runs": f"{experiment.done:,} of {experiment.runs:,} done{failed}",
        "Judges": " · ".join(judges),
        "Processor": machine.get("cpu"),
        "Cores": machine.get("cores"),
        "Memory": size_text(count_at(machine, "memory")),
        "GPUs": ", ".join(text_at(gpu, "name") for gpu in objects_at(machine, "gpus")),
        "System": machine.get("os"),
    }
    return {name: blocks.public(str(value)) for name, value in values.items() if value}


def _other_comparisons(
    comparison: SuiteComparison, concerned: Sequence[MetricComparison]
) -> tuple[blocks.Remark, ...]:
    shown = [
        blocks.Remark(blocks.public(pair.sentence), stands_out=True)
        for pair in comparison.comparisons
        if pair.shown and pair not in concerned
    ]
    sentences = [pair.sentence for pair in comparison.comparisons if not pair.shown]
    sentences += [pair.sentence for pair in comparison.not_worse]
    sentences += [pair.sentence for pair in comparison.same]
    return (*shown, *(blocks.Remark(blocks.public(message)) for message in sentences))


def _notes(comparison: SuiteComparison, experiment: Experiment) -> Iterator[blocks.Remark]:
    missing = experiment.runs - sum(engine.runs for engine in comparison.engines)
    if missing > 0:
        yield blocks.Remark(
            text=f"The experiment is not complete. Missing: {counted(missing, 'run')}.", stands_out=True
        )
    for note in comparison.notes:
        yield blocks.Remark(blocks.public(note))


def _prompt(
    store: Store, experiment: Experiment, index: int, *, folded: bool, sound: bool
) -> content.PromptView:
    prompt = suite.saved_prompt(store, experiment.number, index)
    rounds: dict[int, list[ExperimentRun]] = {}
    for run in store.experiments.runs_of_prompt(experiment.number, index):
        if run.key.repetition < REPETITIONS_SHOWN:
            rounds.setdefault(run.key.repetition, []).append(run)
    left_out = experiment.repetitions - REPETITIONS_SHOWN
    return content.PromptView(
        number=index,
        title=f"#{index}",
        messages=tuple(Message(role=message.role, text=visible(message.text)) for message in prompt.messages),
        facts={
            name: visible(value)
            for name, value in (
                ("Expected", prompt.expected),
                ("Recorded answer", prompt.answer),
                ("Tags", ", ".join(prompt.tags)),
            )
            if value
        },
        rounds=tuple(
            content.answers_side_by_side(
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
    return replace(check, type=blocks.public(check.type), reason=blocks.public(check.reason))


def _difference(rows: Sequence[comparison_rows.Answered]) -> float:
    """Return the largest share of words in an engine's first answer that another engine's first answer lacks, in any
    order. A longest common subsequence would take too long for many thousands of prompts."""
    firsts = {engine: run.result.text for engine, run, _ in reversed(rows)}
    bags = [Counter(text.split(maxsplit=_WORDS)[:_WORDS]) for text in firsts.values()]
    pairs = [(one, other) for one, other in combinations(bags, 2) if one or other]
    shares = (1 - (one & other).total() / max(one.total(), other.total()) for one, other in pairs)
    return max(shares, default=0.0)
