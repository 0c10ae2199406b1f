"""`paragone suite compare`: compares the engines of one or more experiments."""

from __future__ import annotations

from paragone import InputError
from paragone_cli.command_line.output import put, put_json, put_line
from paragone_cli.command_line.saved import experiment_id, newest_experiments, opened_store
from paragone_cli.experiments.suite.suite_arguments import SuiteArguments
from paragone_cli.experiments.suite.suite_comparison import put_comparison
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.differences.comparable import comparable
from paragone_workbench.experiments.differences.conditions import different_conditions
from paragone_workbench.experiments.differences.suite_comparison import compare_suite, comparison_json

__all__ = ["suite_compare"]


def suite_compare(args: SuiteArguments) -> int:
    """Print the comparison. Returns the exit code."""
    if not args.names:
        raise InputError(
            "No experiment was named.",
            hint=f"Write for example: paragone suite compare e3. {newest_experiments()}",
        )
    numbers = dict.fromkeys(map(experiment_id, args.names))
    with opened_store() as store:
        experiments = [store.experiments.get(number) for number in numbers]
        found = comparable(store, experiments)
        comparison = compare_suite(found.rows, found.engines, groups=found.groups)
        conditions = different_conditions(store, experiments, Registry().find)
    unfinished = [
        f"e{it.number} is not finished: {it.done + it.failed:,} of {it.runs:,} runs. The command that began it goes on."
        for it in experiments
        if it.done + it.failed < it.runs
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
