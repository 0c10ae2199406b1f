"""`paragone suite compare`: compares the engines of one or more experiments, in a table and in sentences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from paragone import InputError
from paragone_cli.command_line.formats import put_full_names, short_names
from paragone_cli.command_line.output import note, put, put_json, put_line, put_table
from paragone_cli.command_line.saved import experiment_id, newest_experiments, opened_store
from paragone_cli.experiments.suite import SuiteArguments
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.differences.comparable import comparable
from paragone_workbench.experiments.differences.compared_metrics import Metric
from paragone_workbench.experiments.differences.conditions import different_conditions
from paragone_workbench.experiments.differences.non_inferiority import MARGIN as DEFAULT_MARGIN
from paragone_workbench.experiments.differences.suite_comparison import (
    EngineSummary,
    SuiteComparison,
    compare_suite,
    comparison_json,
)
from paragone_workbench.experiments.differences.suite_values import collect

_COLUMNS = {
    "pass_rate": "pass %",
    "completion_tokens": "tokens",
    "ttft_s": "TTFT (ms)",
    "decode_tps": "tokens/s",
    "total_s": "total (s)",
}
"""Titles of columns, by the names of metrics."""


def suite_compare(args: SuiteArguments) -> int:
    """Print the comparison. Returns the exit code."""
    if not args.names:
        raise InputError(
            "No experiment was named.",
            hint=f"Write for example: paragone suite compare e3. {newest_experiments()}",
        )
    margin = DEFAULT_MARGIN if args.margin is None else args.margin / 100
    numbers = dict.fromkeys(map(experiment_id, args.names))
    with opened_store() as store:
        experiments = [store.experiments.get(number) for number in numbers]
        found = comparable(store, experiments)
        comparison = compare_suite(collect(found.rows, found.engines), groups=found.groups, margin=margin)
        conditions = different_conditions(store, experiments, Registry(note).find)
    unfinished = [
        f"e{experiment.number} is not finished: {experiment.done + experiment.failed:,} of {experiment.runs:,} runs. To continue, run the command that began it again."
        for experiment in experiments
        if experiment.done + experiment.failed < experiment.runs
    ]
    if args.json:
        put_json({**comparison_json(comparison), "notes": [*conditions, *unfinished, *comparison.notes]})
        return 0
    if conditions:
        put("The experiments differ in more than their engines:")
        for sentence in conditions:
            put_line(f"≠ {sentence}")
        put()
    put_comparison(comparison)
    for sentence in unfinished:
        put(sentence)
    return 0


def put_comparison(comparison: SuiteComparison) -> None:
    """Print a comparison."""
    metrics = list({metric: None for summary in comparison.engines for metric in summary.means})
    short = short_names(summary.engine for summary in comparison.engines)
    comparison = _renamed(comparison, short)
    put_table(
        [
            ["engine", "runs", "failed", *(_COLUMNS.get(metric.name, metric.title) for metric in metrics)],
            *(
                [summary.engine, f"{summary.runs:,}", f"{summary.failed:,}", *_means(summary, metrics)]
                for summary in comparison.engines
            ),
        ]
    )
    put_full_names(short)
    put()
    for same in comparison.same:
        for result in comparison.comparisons:
            if (result.a, result.b) == (same.a, same.b):
                put_line(result.sentence)
        for verdict in comparison.not_worse:
            if {verdict.a, verdict.b} == {same.a, same.b}:
                put_line(verdict.sentence)
        put_line(same.sentence)
        put()
    if not comparison.same:
        put("No two engines answered the same prompt, so there is nothing to compare.")
    for sentence in comparison.notes:
        put_line(sentence)


def _renamed(comparison: SuiteComparison, names: Mapping[str, str]) -> SuiteComparison:
    return replace(
        comparison,
        engines=tuple(replace(summary, engine=names[summary.engine]) for summary in comparison.engines),
        comparisons=tuple(
            replace(result, a=names[result.a], b=names[result.b]) for result in comparison.comparisons
        ),
        not_worse=tuple(
            replace(verdict, a=names[verdict.a], b=names[verdict.b]) for verdict in comparison.not_worse
        ),
        same=tuple(replace(pair, a=names[pair.a], b=names[pair.b]) for pair in comparison.same),
        apart=tuple((names[a], names[b]) for a, b in comparison.apart),
    )


def _means(summary: EngineSummary, metrics: list[Metric]) -> list[str]:
    return [metric.shown(summary.means[metric][0]) if metric in summary.means else "" for metric in metrics]
