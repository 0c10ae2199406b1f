"""`paragone suite list`: lists the experiments in the history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing

from paragone import InputError
from paragone.options import value_text
from paragone_cli.arguments import Arguments
from paragone_cli.engine_names import short_names
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
                        "id": f"e{it.number}",
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
        put_table([("id", "name", "engines", "done", "failed", "begun", ""), *_rows(experiments)])
    else:
        note("There are no experiments; `paragone suite run FILE --engines ENGINE…` begins one.")
    return 0


def _rows(experiments: Sequence[Experiment]) -> Iterator[tuple[str, ...]]:
    """Yield the rows; of experiments of one name, with the settings in which they differ."""
    settings = {it.number: _settings(it) for it in experiments}
    for it in experiments:
        alike = [settings[other.number] for other in experiments if other.name == it.name]
        own = [setting for setting in settings[it.number] if not all(setting in other for other in alike)]
        yield (
            f"e{it.number}",
            it.name,
            ", ".join(short_names(engine.name for engine in it.engines).values()),
            f"{it.done + it.failed:,}/{it.runs:,}",
            f"{it.failed:,}",
            date(it.created),
            ", ".join(own),
        )


def _settings(it: Experiment) -> list[str]:
    """Return the schedule, the repetitions and the options of an experiment, each as a short text."""
    options = {
        f"{name}={value_text(value)}": None for engine in it.engines for name, value in engine.options.items()
    }
    repetitions = "1 repetition" if it.repetitions == 1 else f"{it.repetitions} repetitions"
    return [it.schedule, repetitions, *options]
