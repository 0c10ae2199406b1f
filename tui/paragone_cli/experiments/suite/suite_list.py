"""`paragone suite list`: lists the experiments in the history."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from paragone import InputError, Json
from paragone.options import value_text
from paragone.wording import counted
from paragone_cli.command_line.formats import date, short_names
from paragone_cli.command_line.output import note, put_json, put_table
from paragone_cli.command_line.saved import opened_store
from paragone_cli.experiments.suite import SuiteArguments
from paragone_workbench.store.experiment_records import Experiment


def suite_list(args: SuiteArguments) -> int:
    """Print the experiments. Returns the exit code."""
    if args.names:
        raise InputError("`paragone suite list` takes no arguments.")
    with opened_store() as store:
        experiments = store.experiments.all()
    if args.json:
        listed: list[Json] = [
            {
                "id": f"e{experiment.number}",
                "name": experiment.name,
                "engines": [engine.name for engine in experiment.engines],
                "prompts": experiment.prompts,
                "repetitions": experiment.repetitions,
                "runs": experiment.runs,
                "done": experiment.done,
                "failed": experiment.failed,
                "created": experiment.created,
            }
            for experiment in experiments
        ]
        put_json({"experiments": listed})
    elif experiments:
        put_table([("id", "name", "engines", "done", "failed", "begun", ""), *_rows(experiments)])
    else:
        note("There are no experiments; `paragone suite run FILE --engines ENGINE…` begins one.")
    return 0


def _rows(experiments: Sequence[Experiment]) -> Iterator[tuple[str, ...]]:
    """Yield the rows of the table. Experiments with the same name also show the settings in which they differ."""
    settings = {experiment.number: _settings(experiment) for experiment in experiments}
    for experiment in experiments:
        alike = [settings[other.number] for other in experiments if other.name == experiment.name]
        own = [
            setting for setting in settings[experiment.number] if not all(setting in other for other in alike)
        ]
        yield (
            f"e{experiment.number}",
            experiment.name,
            ", ".join(short_names(engine.name for engine in experiment.engines).values()),
            f"{experiment.done + experiment.failed:,}/{experiment.runs:,}",
            f"{experiment.failed:,}",
            date(experiment.created),
            ", ".join(own),
        )


def _settings(experiment: Experiment) -> list[str]:
    """Return the schedule, the repetitions and the options of an experiment, each as a short text."""
    options = {
        f"{name}={value_text(value)}": None
        for engine in experiment.engines
        for name, value in engine.options.items()
    }
    return [experiment.schedule, counted(experiment.repetitions, "repetition"), *options]
