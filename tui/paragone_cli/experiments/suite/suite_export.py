"""`paragone suite export`: writes the unfinished runs of an experiment into batch files, for another machine."""

from __future__ import annotations

from contextlib import closing

from paragone import InputError, Json
from paragone.wording import counted
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.event_loop import run
from paragone_cli.command_line.output import note, put_json, warn
from paragone_cli.command_line.saved import opened_history
from paragone_cli.experiments.suite import SuiteArguments
from paragone_cli.experiments.suite.suite_request import suite_path, suite_request
from paragone_cli.measurement_progress.suite_table import known_text
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.batches import batch_engine, write_batch
from paragone_workbench.experiments.output_file import check_target
from paragone_workbench.experiments.running.known_runs import CellDigests, take_known_runs
from paragone_workbench.experiments.running.request import SuiteRequest, find_or_create
from paragone_workbench.experiments.suites.assertions import AssertionCatalog, load_assertions


def suite_export(args: SuiteArguments) -> int:
    """Write the file. Returns the exit code."""
    suite_path(args)
    context = CommandContext(args)
    with closing(load_assertions(note)) as catalog:
        return run(_export(args, context.registry, suite_request(args, context, catalog), catalog))


async def _export(
    args: SuiteArguments, registry: Registry, request: SuiteRequest, catalog: AssertionCatalog
) -> int:
    if args.to is None:
        raise InputError(
            "A batch needs a file to be written to.",
            hint="Write: paragone suite export FILE --engines ENGINE --to batch.jsonl",
        )
    engines = []
    for definition in request.engines:
        if registry.get(definition.backend).capabilities.local:
            note(f"{definition.name} loads its model on this machine, so `paragone suite run` runs it.")
        else:
            engines.append(batch_engine(definition, registry))
    if not engines:
        raise InputError(
            "All these engines load their models on this machine; a batch names a model of a server.",
            hint="Name an engine such as openai:MODEL@URL.",
        )
    names = [engine.definition.name for engine in engines]
    paths = [args.to]
    if len(names) > 1:
        words = ["".join(it if it.isalnum() or it in "+-._" else "-" for it in name) for name in names]
        paths = [args.to.with_name(f"{args.to.stem}.{word}{args.to.suffix}") for word in words]
    if len(set(paths)) < len(paths):
        raise InputError("Two engines would have the same file.", hint="Give them other names.")
    for path in paths:
        check_target(
            path, suite_path(args), *([] if args.config is None else [args.config]), replaces=args.force
        )
    files: list[Json] = []
    async with opened_history() as history:
        experiment, _ = await find_or_create(history, request, registry)
        taken = await take_known_runs(history, experiment, request, CellDigests(request, registry), catalog)
        if taken:
            note(known_text(taken, experiment.runs))
        saved = {definition.name: definition for definition in experiment.engines}
        for name, path in zip(names, paths, strict=True):
            engine = batch_engine(saved[name], registry)
            requests = await write_batch(
                history, experiment, engine, path, chosen=request.chosen, retry_failed=args.retry_failed
            )
            if not requests:
                note(f"{name} has no unfinished runs; no file is written.")
                continue
            note(f"{path} is written: {counted(requests, 'request')} to {engine.definition.model}.")
            left_out = engine.left_out
            if left_out:
                warn(
                    f"A batch has no field for these options of {name}: {', '.join(left_out)}. These options do not apply."
                )
            files.append(
                {"file": str(path), "engine": name, "requests": requests, "left_out": list(left_out)}
            )
    if args.json:
        put_json({"id": f"e{experiment.number}", "files": files})
    if files:
        note(
            f"Have the requests answered, then import the results: paragone suite import e{experiment.number} RESULTS"
        )
    return 0
