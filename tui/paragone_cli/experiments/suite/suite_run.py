"""`paragone suite run`: runs a suite, or continues an interrupted one."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing

from paragone import ParagoneError
from paragone_cli.command_line import INTERRUPTED
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.event_loop import interruptible, run
from paragone_cli.command_line.formats import to_continue
from paragone_cli.command_line.output import note, print_error, put
from paragone_cli.command_line.saved import opened_history
from paragone_cli.experiments.suite import SuiteArguments
from paragone_cli.experiments.suite.suite_output import put_runs, put_totals
from paragone_cli.experiments.suite.suite_request import suite_path, suite_request
from paragone_cli.measurement_progress.suite_table import SuiteTable, known_text
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.output_file import check_target
from paragone_workbench.experiments.running.executing.executor import CellExecutor, SuiteWork
from paragone_workbench.experiments.running.executing.local_executor import LocalExecutor
from paragone_workbench.experiments.running.junit import write_junit
from paragone_workbench.experiments.running.request import SuiteRequest, find_or_create
from paragone_workbench.experiments.running.runner import SuiteRunner
from paragone_workbench.experiments.running.saved_runs import saved_runs
from paragone_workbench.experiments.running.totals import engine_totals
from paragone_workbench.experiments.suites.assertions import AssertionCatalog, load_assertions
from paragone_workbench.store import Experiment, History, Store


def suite_run(args: SuiteArguments) -> int:
    """Run the suite. Returns the exit code."""
    path = suite_path(args)
    if args.junit is not None:
        check_target(args.junit, path, *([] if args.config is None else [args.config]), replaces=True)
    context = CommandContext(args)
    with closing(load_assertions(note)) as catalog:
        return run(_run(suite_request(args, context, catalog), context.registry, catalog, args))


async def _run(
    request: SuiteRequest,
    registry: Registry,
    catalog: AssertionCatalog,
    args: SuiteArguments,
) -> int:
    executor_of = LocalExecutor if args.on is None else await _cluster(args.on, request, registry)
    async with opened_history() as history:
        experiment, resumed = await find_or_create(history, request, registry)
        if resumed:
            finished = experiment.done + experiment.failed
            note(
                f"Going on with experiment e{experiment.number}: {finished:,} of {experiment.runs:,} runs are finished."
            )
        elif unfinished := await history.call(lambda store: _unfinished(store, experiment)):
            note(
                f"Beginning experiment e{experiment.number}: e{unfinished.number}, which is not finished, differs in its prompts, "
                "its engines or judges, their options, or the file of a model."
            )
        with SuiteTable() as table:
            runner = SuiteRunner(
                history, experiment, request, registry, catalog, observer=table, executor_of=executor_of
            )
            table.engines = runner.progress
            async with interruptible(runner) as interrupts:
                await runner.run()
        return await _finish(
            history, experiment, request, runner, args, resumed=resumed, interrupted=interrupts.interrupted
        )


async def _cluster(
    address: str, request: SuiteRequest, registry: Registry
) -> Callable[[SuiteWork], CellExecutor]:
    """Return the function that creates the executor on a cluster. Raises InputError if the cluster cannot run the suite."""
    from paragone_workbench.experiments.on_ray.plan import plan  # Ray takes a second to import

    planned = await plan(address, request, registry)
    note(planned.sentence)
    return planned.executor


def _unfinished(store: Store, experiment: Experiment) -> Experiment | None:
    """Return the newest earlier experiment of the same name, if it is not finished."""
    before = next(
        (
            earlier
            for earlier in store.experiments.all()
            if earlier.name == experiment.name and earlier.number < experiment.number
        ),
        None,
    )
    return before if before is not None and before.done + before.failed < before.runs else None


async def _finish(
    history: History,
    experiment: Experiment,
    request: SuiteRequest,
    runner: SuiteRunner,
    args: SuiteArguments,
    *,
    resumed: bool,
    interrupted: bool,
) -> int:
    """Print and write the results of the runs. Returns the exit code."""
    totals = await engine_totals(history, experiment, request.chosen)
    if args.junit is not None:
        await write_junit(args.junit, history, experiment, totals, request.chosen)
    if args.json:
        runs = saved_runs(history, experiment, request.chosen)
        await put_runs(
            {"id": f"e{experiment.number}", "resumed": resumed, "known": runner.taken},
            (saved.to_json() async for saved in runs),
        )
    else:
        put_totals(totals)
        if runner.taken:
            put()
            put(known_text(runner.taken, sum(engine.total for engine in totals)))
        put(
            f"\nSee more: paragone suite show e{experiment.number} · paragone report e{experiment.number} --to report.html"
        )
    for error in runner.given_up:
        print_error(error)
    again = to_continue(fresh=args.fresh)
    left = sum(engine.total - engine.runs for engine in totals)
    if runner.failure is not None:
        raise ParagoneError(
            f"The suite was stopped: {runner.failure.sentence}",
            hint=f"{runner.failure.hint} Finished runs are kept. {again}".lstrip(),
        )
    if left:
        note(f"Not finished: {left:,} of {sum(engine.total for engine in totals):,} runs. {again}")
    elif interrupted:
        note(f"Interrupted after the last run, perhaps before all judges were asked. {again}")
    if interrupted:
        return INTERRUPTED
    return 0 if all(engine.is_clean for engine in totals) and not runner.given_up else 1
