"""Runs the measurements of a choice, and prints the decision."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from paragone import InputError, ParagoneError
from paragone.wording import size_text
from paragone_cli.command_line import INTERRUPTED
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.event_loop import interruptible, run
from paragone_cli.command_line.formats import to_continue
from paragone_cli.command_line.judges import consented_judges
from paragone_cli.command_line.output import note, put_json
from paragone_cli.command_line.saved import opened_history, opened_store
from paragone_cli.measuring.choose import ChooseArguments
from paragone_cli.measuring.choose.choose_progress import ChooseProgress
from paragone_cli.measuring.choose.choose_text import put_decision
from paragone_workbench.choosing.choice import Choice
from paragone_workbench.choosing.evidence import too_few_prompts
from paragone_workbench.choosing.questions import QUESTIONS, deciding_suite, for_questions
from paragone_workbench.choosing.timing.durations import parse_duration
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.running.request import SuiteRequest
from paragone_workbench.experiments.suites.assertions import AssertionCatalog, load_assertions
from paragone_workbench.exporting.report import write_report
from paragone_workbench.measure.fit.gpu_sizes import parse_sizes
from paragone_workbench.reporting.file import format_of


def choose_run(args: ChooseArguments) -> int:
    """Measure and print. Returns the exit code."""
    seconds = None if args.time is None else parse_duration(args.time)
    vram = () if args.vram is None else parse_sizes(args.vram)
    if args.to is not None:
        format_of(args.to, replaces=args.force)  # a wrong file name is reported before hours of measurements
    context = CommandContext(args)
    texts = tuple(dict.fromkeys(args.engines))
    engines = context.checked(texts, args.settings, args.preset)
    if args.suite is None:
        engines = for_questions(engines, context.registry)
    names = dict(zip(texts, (engine.name for engine in engines), strict=True))
    reference = None if args.reference is None else names.get(args.reference, args.reference)
    if reference is not None and reference not in names.values():
        raise InputError(
            f"The reference {reference!r} is none of the engines.",
            hint=f"The engines are: {', '.join(names.values())}.",
        )
    catalog = load_assertions(note)
    try:
        request = _request(args, context, engines, catalog)
        status, experiment = run(
            _run(args, request, context.registry, catalog, reference=reference, seconds=seconds, vram=vram)
        )
    finally:
        catalog.close()
    if args.to is not None and experiment is not None:
        _write(args.to, experiment, context.registry, replaces=args.force)
    elif args.to is not None and status != INTERRUPTED:
        raise ParagoneError("There is no report: nothing was measured.")
    return status


def _request(
    args: ChooseArguments,
    context: CommandContext,
    engines: Sequence[EngineDefinition],
    catalog: AssertionCatalog,
) -> SuiteRequest:
    suite = deciding_suite(args.suite, catalog, context.system(args))
    if args.suite is None:
        note(
            f"The suite is the {len(suite.prompts)} prompts that come with paragone. "
            "Your own prompts, with --suite, say more about your use."
        )
    if doubt := too_few_prompts(suite.checked, args.margin / 100, len(engines) - 1):
        note(doubt)
    judges, foreign = consented_judges(context, args.suite or QUESTIONS, suite, engines, catalog)
    return SuiteRequest(suite=suite, engines=engines, judges=judges, foreign_judges=foreign, fresh=args.fresh)


async def _run(
    args: ChooseArguments,
    request: SuiteRequest,
    registry: Registry,
    catalog: AssertionCatalog,
    *,
    reference: str | None,
    seconds: float | None,
    vram: Sequence[int],
) -> tuple[int, int | None]:
    """Measure and print. Returns the exit code, and the number of the experiment or None."""
    async with opened_history() as history:
        with ChooseProgress() as progress:
            choice = Choice(
                history=history,
                registry=registry,
                catalog=catalog,
                request=request,
                wanted=reference,
                seconds=seconds,
                vram=vram,
                observer=progress,
            )
            async with interruptible(choice) as interrupts:
                await choice.measure()
        decision, figures, comparison = await choice.decision(args.margin / 100)
    missing = choice.missing()
    if args.json:
        put_json(
            {
                **decision.to_json(),
                "experiment": None if choice.experiment is None else f"e{choice.experiment.number}",
                "known": choice.taken,
                "engines": [engine.to_json() for engine in figures],
                "left_out": list(choice.left_out),
                "non_inferiority": [verdict.to_json() for verdict in comparison.not_worse],
                "not_measured": list(missing),
            }
        )
    else:
        put_decision(decision, figures, choice, missing)
    number = None if choice.experiment is None else choice.experiment.number
    if interrupts.interrupted:
        force = args.to is not None and number is not None and not args.force  # the report will exist
        note(f"Interrupted. The measurements so far are kept. {to_continue(fresh=args.fresh, force=force)}")
    elif args.fresh and missing:
        note(to_continue(fresh=True))
    return interrupts.exit_code([], nothing_done=False) or int(decision.chosen is None), number


def _write(path: Path, experiment: int, registry: Registry, *, replaces: bool) -> None:
    """Write the report. Raises ParagoneError."""
    with opened_store() as store:
        size = write_report(store, f"e{experiment}", path, registry.find, replaces=replaces)
    note(f"{path} is written ({size_text(size)}).")
