"""The report of an experiment, whose runs are read from the history prompt by prompt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby

from paragone import Json, WeightsFile
from paragone.json_fields import count_at, objects_at, text_at
from paragone.wording import counted, size_text
from paragone_workbench.engines.definitions import BackendLookup
from paragone_workbench.experiments.differences.comparable import comparable
from paragone_workbench.experiments.differences.suite_comparison import SuiteComparison
from paragone_workbench.experiments.differences.suite_values import SuiteRow, collect
from paragone_workbench.experiments.engine_identity import measured_identity
from paragone_workbench.experiments.suites.saved_prompts import saved_prompts
from paragone_workbench.reporting.content import (
    Conditions,
    Fact,
    Remark,
    ReportContent,
    Section,
)
from paragone_workbench.reporting.parts.charts import charts_of
from paragone_workbench.reporting.parts.conditions import conditions_of
from paragone_workbench.reporting.parts.engines import engine_view
from paragone_workbench.reporting.parts.measurements import measurements_of, saved_measurements
from paragone_workbench.reporting.parts.pass_rates import rates_by_assertion, rates_by_tag
from paragone_workbench.reporting.public_text import date_text, public
from paragone_workbench.reporting.subjects.decided import Decided, decided_of
from paragone_workbench.reporting.subjects.experiment_prompts import prompt_view
from paragone_workbench.reporting.subjects.selection import PROMPTS_OPEN, Selection
from paragone_workbench.runs.result import RunResult
from paragone_workbench.store import Experiment, Store

_COMPARED = (
    "Engines are compared over the prompts that both answered. Intervals are 95% intervals of the mean difference; the "
    "p-values are corrected for the number of comparisons."
)


def experiment_report(
    store: Store,
    experiment: Experiment,
    find: BackendLookup,
) -> ReportContent:
    """Return the report of an experiment. `find` returns the backend with a given name.

    The store must stay open while the report is written.
    """
    found = comparable(store, [experiment])
    names, rows = found.engines, found.rows
    selection = Selection()
    values = collect(_watched(rows, selection), names)
    prompts = [(prompt.index, prompt.tags) for prompt in saved_prompts(store, experiment.number)]
    tags = {number: tags for number, (_, tags) in enumerate(prompts)}
    examples, conditions = _first_answers(store, experiment, find)
    identities = {
        engine.name: measured_identity(engine, find(engine.backend), _weights(examples.get(index)))
        for index, engine in enumerate(experiment.engines)
    }
    saved = saved_measurements(store)
    decided = decided_of(store, experiment, values, tags, examples, identities, saved)
    comparison = decided.comparison
    sections = (
        Section(
            title="Differences between engines",
            remarks=tuple(
                Remark(text=public(pair.sentence), stands_out=True)
                for pair in comparison.comparisons
                if pair.shown and decided.concerns(pair)
            ),
            rest=_other_comparisons(decided),
            note=_COMPARED,
        ),
        Section(title="Pass rates", tables=rates_by_tag(values, tags)),
        Section(
            title="Pass rates by type of assertion",
            tables=rates_by_assertion(names, store.experiments.assertion_rates(experiment.number)),
            folded=True,
        ),
        Section(
            title="Results",
            charts=charts_of(values),
            remarks=tuple(_notes(comparison, experiment)),
            folded=True,
        ),
        *measurements_of(saved, identities),
    )
    numbers = selection.numbers
    first_sound = max(PROMPTS_OPEN, len(numbers) - selection.sound)
    return ReportContent(
        id=f"e{experiment.number}",
        title=public(experiment.name),
        summary=" · ".join(
            (
                counted(len(names), "engine"),
                counted(experiment.prompts, "prompt"),
                counted(experiment.repetitions, "repetition"),
            )
        ),
        facts=tuple(_facts(experiment, store.experiments.judges(experiment.number))),
        verdict=decided.verdict,
        overview=decided.overview,
        plots=decided.plots,
        engines=tuple(
            engine_view(engine.name, engine, examples.get(index), find)
            for index, engine in enumerate(experiment.engines)
        ),
        sections=tuple(section for section in sections if not section.is_empty),
        conditions=conditions,
        prompts=lambda: (
            prompt_view(
                store,
                experiment,
                prompts[number][0],
                folded=place >= PROMPTS_OPEN,
                sound=place >= first_sound,
            )
            for place, number in enumerate(numbers)
        ),
        left_out=" ".join(_order(selection)),
        sound=max(0, len(numbers) - first_sound),
    )


def _weights(run: RunResult | None) -> tuple[WeightsFile, ...]:
    return () if run is None or run.loaded is None else tuple(run.loaded.weights)


def _order(selection: Selection) -> Iterator[str]:
    if selection.count > 1:
        yield "Prompts with failures come first, then those whose answers differ most."
    if selection.left_out:
        yield (
            f"{selection.left_out:,} of {selection.count:,} prompts are not shown. The CSV and JSON files have all."
        )


def _watched(rows: Iterator[SuiteRow], selection: Selection) -> Iterator[SuiteRow]:
    """Yield the runs, in the order of their prompts, and pass each prompt's runs to `selection`, which chooses prompts."""
    for number, group in groupby(rows, lambda row: row.prompt_index):
        of_prompt = list(group)
        selection.add(number, of_prompt)
        yield from of_prompt


def _first_answers(
    store: Store, experiment: Experiment, find: BackendLookup
) -> tuple[dict[int, RunResult], Conditions | None]:
    """Return a begun run of each engine by the engine's index, and the conditions at a prompt.

    The prompt is the first that all engines answered.
    """
    names = [engine.name for engine in experiment.engines]
    examples: dict[int, RunResult] = {}
    for _, group in groupby(store.experiments.runs(experiment.number), lambda run: run.key.prompt_index):
        began = {run.key.engine_index: run.result for run in group if run.result.loaded is not None}
        examples = {**began, **examples}
        if len(began) == len(names):
            return examples, conditions_of([(names[index], began[index]) for index in sorted(began)], find)
    return examples, None


def _facts(experiment: Experiment, judges: Sequence[str]) -> Iterator[Fact]:
    yield Fact(name="Begun", value=date_text(experiment.created))
    yield Fact(name="Schedule", value=public(experiment.schedule))
    failed = f", {experiment.failed:,} failed" if experiment.failed else ""
    yield Fact(name="Runs", value=f"{experiment.done:,} of {experiment.runs:,} done{failed}")
    if judges:
        yield Fact(name="Judges", value=public(" · ".join(judges)))
    yield from _machine(experiment.machine)


def _machine(machine: Mapping[str, Json]) -> Iterator[Fact]:
    """Yield the known parts of a description by `describe_machine`."""
    memory = count_at(machine, "memory")
    values = {
        "Processor": machine.get("cpu"),
        "Cores": machine.get("cores"),
        "Memory": None if memory is None else size_text(memory),
        "GPUs": ", ".join(text_at(gpu, "name") for gpu in objects_at(machine, "gpus")),
        "System": machine.get("os"),
    }
    for name, value in values.items():
        if value:
            yield Fact(name=name, value=public(str(value)))


def _other_comparisons(decided: Decided) -> tuple[Remark, ...]:
    """Return the folded comparisons. Comparisons that show a difference come first."""
    comparison = decided.comparison
    shown = [
        Remark(text=public(pair.sentence), stands_out=True)
        for pair in comparison.comparisons
        if pair.shown and not decided.concerns(pair)
    ]
    sentences = [pair.sentence for pair in comparison.comparisons if not pair.shown]
    sentences += [pair.sentence for pair in comparison.not_worse]
    sentences += [pair.sentence for pair in comparison.same]
    return (*shown, *(Remark(text=public(sentence)) for sentence in sentences))


def _notes(comparison: SuiteComparison, experiment: Experiment) -> Iterator[Remark]:
    missing = experiment.runs - sum(engine.runs for engine in comparison.engines)
    if missing > 0:
        yield Remark(
            text=f"The experiment is not complete. Missing: {counted(missing, 'run')}.", stands_out=True
        )
    for note in comparison.notes:
        yield Remark(text=public(note))
