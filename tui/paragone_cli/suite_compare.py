"""`paragone suite compare`: compares the engines of one or more experiments."""

from __future__ import annotations

from contextlib import closing

from paragone import InputError
from paragone_cli.arguments import Arguments
from paragone_cli.experiment_ids import experiment_id, newest_experiments
from paragone_cli.output import one_line, put, put_json, warn
from paragone_cli.suite_comparison import put_comparison
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.comparison.comparable import comparable
from paragone_workbench.experiments.comparison.conditions import different_conditions
from paragone_workbench.experiments.comparison.suite_comparison import compare_suite, comparison_json
from paragone_workbench.store.store import Store

__all__ = ["suite_compare"]


def suite_compare(args: Arguments) -> int:
    """Run the command. Returns the exit code."""
    if not args.names:
        raise InputError(
            "No experiment was named.",
            hint=f"Write for example: paragone suite compare e3. {newest_experiments()}",
        )
    numbers = dict.fromkeys(map(experiment_id, args.names))
    with closing(Store.open()) as store:
        if store.warning:
            warn(store.warning)
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
            put(one_line(f"≠ {sentence}"))
        put()
    put_comparison(comparison)
    for sentence in unfinished:
        put(sentence)
    return 0
