"""`paragone suite export`: writes the unfinished runs of an experiment into batch files, for another machine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

from paragone import InputError, Json
from paragone.wording import counted
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.event_loop import run
from paragone_cli.command_line.output import note, put_json, warn
from paragone_cli.command_line.saved import opened_history
from paragone_cli.experiments.suite import SuiteArguments
from paragone_cli.experiments.suite.suite_request import suite_path, suite_request
from paragone_cli.measurement_progress.suite_table import known_text
from paragone_workbench.engines.definitions import EngineDefinition, suggest
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.batches.export import (
    MOST_REQUESTS,
    WrittenBatch,
    batch_paths,
    write_batch,
)
from paragone_workbench.experiments.batches.requests import BatchEngine, batch_engine
from paragone_workbench.experiments.ids import parse_id
from paragone_workbench.experiments.output_file import check_target
from paragone_workbench.experiments.running.known_runs import CellDigests, take_known_runs
from paragone_workbench.experiments.running.request import SuiteRequest, find_or_create
from paragone_workbench.experiments.suites.assertions import AssertionCatalog, load_assertions
from paragone_workbench.store import Experiment

_OF_NEW_EXPERIMENTS = ("settings", "repetitions", "system", "preset", "fresh", "filter", "skip_invalid")
"""The fields of options that only a new experiment takes."""


def suite_export(args: SuiteArguments) -> int:
    """Write the files. Returns the exit code."""
    if args.to is None:
        raise InputError(
            "A batch needs a file to be written to.",
            hint="Write: paragone suite export FILE --engines ENGINE --to batch.jsonl",
        )
    found = parse_id(args.names[0]) if len(args.names) == 1 else None
    if found is not None and found.kind == "e" and found.run is None:
        if any(getattr(args, name) not in (None, False, ()) for name in _OF_NEW_EXPERIMENTS):
            raise InputError(
                "The options of an experiment that exists cannot be changed.",
                hint="With an experiment, write only --to, --engines and --retry-failed.",
            )
        return run(_export(args, args.to, CommandContext(args).registry, found.number))
    suite_path(args)
    context = CommandContext(args)
    with closing(load_assertions(note)) as catalog:
        return run(_export(args, args.to, context.registry, suite_request(args, context, catalog), catalog))


async def _export(
    args: SuiteArguments,
    to: Path,
    registry: Registry,
    subject: SuiteRequest | int,
    catalog: AssertionCatalog | None = None,
) -> int:
    """Write the unfinished runs of an experiment. `subject` is the experiment's number, or a request.

    `catalog` has the assertions of a request.
    """
    written: list[tuple[BatchEngine, Path, WrittenBatch]] = []
    async with opened_history() as history:
        if isinstance(subject, int):
            experiment = await history.call(lambda store: store.experiments.get(subject))
            names = _named(experiment, args.engines) or _on_servers(experiment.engines, registry)
            chosen, inputs = None, []
        else:
            names = _on_servers(subject.engines, registry)
            chosen, inputs = subject.chosen, [suite_path(args)]
        paths = batch_paths(to, names)
        for path in paths:
            check_target(path, *inputs, *([] if args.config is None else [args.config]), replaces=args.force)
        if not isinstance(subject, int):
            experiment, _ = await find_or_create(history, subject, registry)
            if catalog is not None:
                digests = CellDigests(subject, registry)
                taken = await take_known_runs(history, experiment, subject, digests, catalog)
                if taken:
                    note(known_text(taken, experiment.runs))
        index = {engine.name: index for index, engine in enumerate(experiment.engines)}
        for name, path in zip(names, paths, strict=True):
            engine = batch_engine(experiment, index[name], registry)
            batch = await write_batch(history, engine, path, chosen=chosen, retry_failed=args.retry_failed)
            _report(engine, path, batch)
            if batch.requests:
                written.append((engine, path, batch))
    if args.json:
        put_json({"id": f"e{experiment.number}", "files": [_file_json(*one) for one in written]})
    if written:
        note(
            f"Have the requests answered, then import the results: paragone suite import e{experiment.number} RESULTS"
        )
    return 0


def _named(experiment: Experiment, wanted: Sequence[str]) -> list[str]:
    """Return the names of the wanted engines in the order of the experiment. Raises InputError for an unknown engine."""
    names = [engine.name for engine in experiment.engines]
    for name in wanted:
        if name not in names:
            raise InputError(f"e{experiment.number} has no engine {name!r}.", hint=suggest(name, names))
    return [name for name in names if name in wanted]


def _on_servers(engines: Sequence[EngineDefinition], registry: Registry) -> list[str]:
    """Return the names of the engines whose models are on servers. Raises InputError if no model is on a server."""
    here = [engine.name for engine in engines if registry.get(engine.backend).capabilities.local]
    if len(here) == len(engines):
        raise InputError(
            "All these engines load their models on this machine; a batch names a model of a server.",
            hint="Name an engine such as openai:MODEL@URL.",
        )
    for name in here:
        note(f"{name} loads its model on this machine, so `paragone suite run` runs it.")
    return [engine.name for engine in engines if engine.name not in here]


def _report(engine: BatchEngine, file: Path, batch: WrittenBatch) -> None:
    """Print the number of requests that were written, and the settings that a batch cannot express."""
    name = engine.definition.name
    if not batch.requests:
        note(f"{name} has no unfinished runs; no file is written.")
        return
    note(f"{file} is written: {counted(batch.requests, 'request')} to {engine.definition.model}.")
    if engine.left_out:
        warn(
            f"A batch has no field for these options of {name}: {', '.join(engine.left_out)}. These options do not apply."
        )
    if batch.continued:
        warn(
            f"In {counted(batch.continued, 'request')} to {name}, the last message is the assistant's. In a batch, most models "
            "begin a new answer instead of continuing this message."
        )
    if batch.requests > MOST_REQUESTS:
        note(
            f"Hosted services take at most {MOST_REQUESTS:,} requests in a file. To split it: split -l {MOST_REQUESTS} {file}"
        )


def _file_json(engine: BatchEngine, file: Path, batch: WrittenBatch) -> Json:
    return {
        "file": str(file),
        "engine": engine.definition.name,
        "requests": batch.requests,
        "left_out": list(engine.left_out),
    }
