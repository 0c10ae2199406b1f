"""`paragone suite list`: lists the experiments in the history."""

from __future__ import annotations

from contextlib import closing

from paragone import InputError
from paragone_cli.arguments import Arguments
from paragone_cli.formats import date
from paragone_cli.output import note, put_json, put_table, warn
from paragone_workbench.store.experiment_records import Experiment
from paragone_workbench.store.store import Store

__all__ = ["suite_list"]


def suite_list(args: Arguments) -> int:
    """Run the command. Returns the exit code."""
    if args.names:
        raise InputError("`paragone suite list` takes no arguments.")
    with closing(Store.open()) as store:
        if store.warning:
            warn(store.warning)
        experiments = store.experiments.all()
    if args.json:
        put_json(
            {
                "experiments": [
                    {
                        "id": f"e{it.id}",
                        "name": it.name,
                        "engines": [engine.name for engine in it.engines],
                        "prompts": it.prompts,
                        "repetitions": it.repetitions,
                        "runs": it.runs,
                        "done": it.done,
                        "failed": it.failed,
                        "created": it.created,
                    }
                    for it in experiments
                ]
            }
        )
    elif experiments:
        put_table([("id", "name", "engines", "done", "failed", "begun"), *map(_row, experiments)])
    else:
        note("There are no experiments; `paragone suite run FILE --engines ENGINE…` begins one.")
    return 0


def _row(it: Experiment) -> tuple[str, ...]:
    names = ", ".join(engine.name for engine in it.engines)
    return (
        f"e{it.id}",
        it.name,
        names,
        f"{it.done + it.failed:,}/{it.runs:,}",
        f"{it.failed:,}",
        date(it.created),
    )
