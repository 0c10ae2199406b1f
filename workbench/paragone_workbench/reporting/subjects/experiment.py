"""The report of an experiment. Its runs are read from the history as they are needed, never all at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import groupby

from paragone import Backend, Json
from paragone.wording import counted, size_text
from paragone_workbench.experiments.differences.comparable import comparable
from paragone_workbench.experiments.differences.suite_comparison import SuiteComparison, compare_values
from paragone_workbench.experiments.differences.suite_values import SuiteRow, collect
from paragone_workbench.experiments.suites.saved_prompts import saved_prompts
from paragone_workbench.reporting.content import (
    Conditions,
    Fact,
    Remark,
    Report,
    Section,
)
from paragone_workbench.reporting.parts.charts import charts_of
from paragone_workbench.reporting.parts.conditions import conditions_of
from paragone_workbench.reporting.parts.engines import engine_view
from paragone_workbench.reporting.parts.pass_rates import tag_charts
from paragone_workbench.reporting.public_text import date_text, public
from paragone_workbench.reporting.subjects.experiment_prompts import prompt_view
from paragone_workbench.reporting.subjects.selection import Selection
from paragone_workbench.runs.result import RunResult
from paragone_workbench.store import Experiment, Store

_COMPARED = (
    "Engines are compared over the prompts that both answered. Intervals are 95% intervals of the mean difference; the "
    "p-values are corrected for the number of comparisons."
)


def experiment_report(
    store: Store,
    experiment: Experiment,
    find: Callable[[str], Backend | None],
) -> Report:
    """Return the report of an experiment. `find` returns the backend of a name.

    The store must stay open while the report is written.
    """
    found = comparable(store, [experiment])
    names, rows = found.engines, found.rows
    selection = Selection()
    values = collect(_watched(rows, selection), names)
    comparison = compare_values(values)
    prompts = list(saved_prompts(store, experiment.number))
    indices = [prompt.index for prompt in prompts]
    examples, conditions = _first_answers(store, experiment, find)
    sections = (
        Section(title="Results", charts=charts_of(values), remarks=tuple(_notes(comparison, experiment))),
        Section(
            title="Pass rates by tag",
            charts=tag_charts(values, {number: prompt.tags for number, prompt in enumerate(prompts)}),
        ),
        Section(title="Differences between engines", remarks=_comparisons(comparison), note=_COMPARED),
    )
    return Report(
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
        engines=tuple(
            engine_view(engine.name, engine, examples.get(index), find)
            for index, engine in enumerate(experiment.engines)
        ),
        sections=tuple(section for section in sections if section.charts or section.remarks),
        conditions=conditions,
        prompts=lambda: (prompt_view(store, experiment, indices[number]) for number in selection.numbers),
        left_out=(
            f"{selection.left_out:,} of {selection.count:,} prompts are not shown. Those with failures come first, "
            "then those whose answers differ most. The CSV and JSON files have all."
            if selection.left_out
            else ""
        ),
    )


def _watched(rows: Iterator[SuiteRow], selection: Selection) -> Iterator[SuiteRow]:
    """Yield the runs, which come in the order of their prompts, and have `selection` choose prompts by them."""
    for number, group in groupby(rows, lambda row: row.prompt_index):
        of_prompt = list(group)
        selection.add(number, of_prompt)
        yield from of_prompt


def _first_answers(
    store: Store, experiment: Experiment, find: Callable[[str], Backend | None]
) -> tuple[dict[int, RunResult], Conditions | None]:
    """Return a run of each engine that began, and the conditions of the first prompt that all answered."""
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
    memory, gpus = machine.get("memory"), machine.get("gpus")
    names = (
        [str(gpu.get("name")) for gpu in gpus if isinstance(gpu, Mapping)] if isinstance(gpus, list) else []
    )
    values = {
        "Processor": machine.get("cpu"),
        "Cores": machine.get("cores"),
        "Memory": size_text(memory) if isinstance(memory, int) else None,
        "GPUs": ", ".join(names),
        "System": machine.get("os"),
    }
    for name, value in values.items():
        if value:
            yield Fact(name=name, value=public(str(value)))


def _comparisons(comparison: SuiteComparison) -> tuple[Remark, ...]:
    """Return the comparisons as sentences, those that show a difference first."""
    remarks = [Remark(text=public(pair.sentence), stands_out=pair.shown) for pair in comparison.comparisons]
    sentences = [pair.sentence for pair in comparison.not_worse] + [pair.sentence for pair in comparison.same]
    rest = [Remark(text=public(sentence)) for sentence in sentences]
    return (*sorted(remarks, key=lambda remark: not remark.stands_out), *rest)


def _notes(comparison: SuiteComparison, experiment: Experiment) -> Iterator[Remark]:
    missing = experiment.runs - sum(engine.runs for engine in comparison.engines)
    if missing > 0:
        yield Remark(
            text=f"The experiment is not complete: {counted(missing, 'run')} are missing.", stands_out=True
        )
    for note in comparison.notes:
        yield Remark(text=public(note))
