"""`paragone suite import`: turns the results of a batch into runs of an experiment."""

from __future__ import annotations

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
from paragone_workbench.experiments.batches.batch_import import BatchImport
from paragone_workbench.experiments.running.totals import engine_totals
from paragone_workbench.experiments.suites.assertions import AssertionCatalog, load_assertions
from paragone_workbench.experiments.suites.suite import PROBLEMS_SHOWN, SuiteProblem, problem_text
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
        batch = BatchImport(history, experiment, registry, catalog)
        with StatusLine() as progress:
            for path in paths:
                async for problem in batch.read(path):
                    if problem is not None:
                        progress.clear()
                        _warn(path, problem, batch.refused)
                    if progress.due:
                        progress.show(f"{counted(batch.lines, 'line')} read")
        totals = await engine_totals(history, experiment)
    left = sum(engine.total - engine.runs for engine in totals)
    if as_json:
        put_json(
            {
                "id": f"e{number}",
                "answers": batch.answers,
                "errors": batch.errors,
                "known": batch.known,
                "refused": batch.refused,
                "left": left,
            }
        )
    else:
        put_totals(totals)
        put(f"\nSee more: paragone suite show e{number} · paragone report e{number} --to report.html")
    note(
        f"Imported: {counted(batch.answers, 'answer')}, {counted(batch.errors, 'failed request')}. "
        f"Known before: {batch.known:,}. Not imported: {counted(batch.refused, 'line')}."
    )
    if left:
        note(
            f"Not finished: {counted(left, 'run')}. `paragone suite export e{number}` writes the runs of servers again."
        )
    if batch.to_judge:
        note(
            f"Judges are still to be asked about {counted(batch.to_judge, 'answer')}: `paragone suite run` does that."
        )
    return 1 if batch.refused else 0


def _warn(path: Path, problem: SuiteProblem, refused: int) -> None:
    """Print the problem of a line that is not imported, if `refused`, the number of such lines so far, is small."""
    if refused <= PROBLEMS_SHOWN:
        warn(problem_text(path.name, [problem]))
    elif refused == PROBLEMS_SHOWN + 1:
        warn("Further lines that are not imported are only counted.")
