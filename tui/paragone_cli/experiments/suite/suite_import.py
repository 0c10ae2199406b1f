"""`paragone suite import`: turns the results of a batch into runs of an experiment."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from pathlib import Path

from paragone import InputError
from paragone.wording import counted
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.event_loop import run
from paragone_cli.command_line.output import note, put, put_json, warn
from paragone_cli.command_line.saved import experiment_id, opened_history
from paragone_cli.command_line.status_line import StatusLine
from paragone_cli.experiments.suite import SuiteArguments
from paragone_cli.experiments.suite.suite_output import put_totals
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.batches import read_batch
from paragone_workbench.experiments.running.totals import engine_totals
from paragone_workbench.experiments.suites.assertions import AssertionCatalog, load_assertions
from paragone_workbench.experiments.suites.suite import PROBLEMS_SHOWN, problem_text
from paragone_workbench.store.retry import retrying


def suite_import(args: SuiteArguments) -> int:
    """Import the results. Returns the exit code."""
    if len(args.names) < 2:
        raise InputError(
            "Name an experiment and the files of results.",
            hint="Write for example: paragone suite import e3 results.jsonl",
        )
    number, paths = experiment_id(args.names[0]), [Path(name) for name in args.names[1:]]
    registry = CommandContext(args).registry
    with closing(load_assertions(note)) as catalog:
        return run(_import(number, paths, registry, catalog, as_json=args.json))


async def _import(
    number: int, paths: list[Path], registry: Registry, catalog: AssertionCatalog, *, as_json: bool
) -> int:
    async with opened_history() as history:
        experiment = await history.call(lambda store: store.experiments.get(number))
        await retrying(history, lambda store: store.experiments.claim(number))
        counts: Counter[str] = Counter()
        with StatusLine() as progress:
            for path in paths:
                async for problem in read_batch(history, experiment, path, registry, catalog, counts):
                    if problem is not None and counts["refused"] <= PROBLEMS_SHOWN:
                        progress.clear()
                        warn(problem_text(path.name, [problem]))
                    if progress.due:
                        progress.show(f"{counted(counts.total(), 'line')} read")
        totals = await engine_totals(history, experiment)
    left = sum(engine.total - engine.runs for engine in totals)
    if as_json:
        numbers = {name: counts[name] for name in ("answers", "errors", "known", "refused")}
        put_json({"id": f"e{number}", **numbers, "left": left})
    else:
        put_totals(totals)
        put(f"\nSee more: paragone suite show e{number} · paragone report e{number} --to report.html")
    note(
        f"Imported: {counted(counts['answers'], 'answer')}, {counted(counts['errors'], 'failed request')}. "
        f"Known before: {counts['known']:,}. Not imported: {counted(counts['refused'], 'line')}."
    )
    if left:
        note(
            f"Not finished: {counted(left, 'run')}. `paragone suite export FILE` writes the runs of servers again."
        )
    return 1 if counts["refused"] else 0
