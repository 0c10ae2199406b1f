"""Runs the measurements of a choice, and prints what they decide."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from paragone import InputError
from paragone.options import describe
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.event_loop import interruptible, run
from paragone_cli.command_line.judges import consented_judges
from paragone_cli.command_line.output import note, put_json
from paragone_cli.command_line.saved import opened_history
from paragone_cli.measurement_progress.bench_progress import BenchProgress
from paragone_cli.measurement_progress.fidelity_progress import FidelityProgress
from paragone_cli.measurement_progress.suite_table import SuiteTable
from paragone_cli.measuring.choose import ChooseArguments
from paragone_cli.measuring.choose.choose_text import put_decision
from paragone_workbench.choosing.choice import TEST, Choice, largest
from paragone_workbench.choosing.questions import QUESTIONS
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.running.request import SuiteRequest
from paragone_workbench.experiments.running.runner import SuiteRunner
from paragone_workbench.experiments.suites.assertions import AssertionCatalog, load_assertions
from paragone_workbench.experiments.suites.suite_file import read_suite

LONGEST_ANSWER = 200
"""Tokens of an answer to the prompts that come with paragone, unless the user sets `max_tokens`."""


def choose_run(args: ChooseArguments) -> int:
    """Measure and print. Returns the exit code."""
    context = CommandContext(args)
    texts = tuple(dict.fromkeys(args.engines))
    engines = context.checked(texts, args.settings, args.preset)
    if args.suite is None:
        engines = tuple(_with_short_answers(engine, context.registry) for engine in engines)
    names = [engine.name for engine in engines]
    reference = largest(engines) if args.reference is None else args.reference
    reference = dict(zip(texts, names, strict=True)).get(reference, reference)
    if reference not in names:
        raise InputError(
            f"The reference {reference!r} is none of the engines.", hint=f"They are: {', '.join(names)}."
        )
    catalog = load_assertions(note)
    try:
        path = args.suite or QUESTIONS
        request = _request(args, context, path, engines=engines, catalog=catalog)
        if args.suite is None:
            note(
                f"The prompts are {len(request.suite.prompts)} that come with paragone. "
                "Your own, with --suite, say more about your use."
            )
        return run(_run(args, request, reference, context.registry, catalog))
    finally:
        catalog.close()


def _with_short_answers(engine: EngineDefinition, registry: Registry) -> EngineDefinition:
    """Return the engine with a limit of its answers, unless the user set one: the prompts ask for short answers."""
    known = {info.name for info in describe(registry.get(engine.backend).sampling)}
    if "max_tokens" not in known or "max_tokens" in engine.options:
        return engine
    return replace(engine, options={**engine.options, "max_tokens": LONGEST_ANSWER})


def _request(
    args: ChooseArguments,
    context: CommandContext,
    path: Path,
    *,
    engines: Sequence[EngineDefinition],
    catalog: AssertionCatalog,
) -> SuiteRequest:
    suite = read_suite(path, catalog, system=context.system(args))
    if suite.problems:
        raise InputError(
            f"{path.name} has mistakes; nothing was measured.",
            hint=f"`paragone suite run {path} --engines {engines[0].name}` lists them.",
        )
    if not any(prompt.assertions for prompt in suite.prompts):
        raise InputError(
            f"No prompt of {path.name} has assertions or an expected answer, so the suite decides nothing.",
            hint="docs/suites.md shows how to write them.",
        )
    judges, foreign = consented_judges(context, path, suite, engines, catalog)
    return SuiteRequest(suite=suite, engines=engines, judges=judges, foreign_judges=foreign, fresh=args.fresh)


async def _run(
    args: ChooseArguments,
    request: SuiteRequest,
    reference: str,
    registry: Registry,
    catalog: AssertionCatalog,
) -> int:
    async with opened_history() as history:
        choice = Choice(
            history=history,
            registry=registry,
            catalog=catalog,
            request=request,
            reference=reference,
            seconds=args.time,
        )
        async with interruptible(choice) as interrupts:
            with BenchProgress([engine.name for engine in request.engines], [TEST]) as bench:
                await choice.measure_speed(bench.begin)
            with FidelityProgress() as fidelity:
                await choice.measure_fidelity(fidelity.begin)
            with SuiteTable() as table:

                def started(runner: SuiteRunner) -> None:
                    table.engines = runner.progress

                await choice.run_suite(table, started)
        decision, figures, comparison = await choice.decision(args.margin / 100)
    if args.json:
        put_json(
            {
                **decision.to_json(),
                "experiment": None if choice.experiment is None else f"e{choice.experiment.number}",
                "engines": [engine.to_json() for engine in figures],
                "non_inferiority": [verdict.to_json() for verdict in comparison.not_worse],
                "not_measured": list(choice.missing),
            }
        )
    else:
        put_decision(decision, figures, choice)
    return interrupts.exit_code([], nothing_done=False) or int(decision.chosen is None)
