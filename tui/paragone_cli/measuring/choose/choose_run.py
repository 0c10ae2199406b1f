"""Runs the measurements of a choice, and prints the decision."""

from __future__ import annotations

from contextlib import closing

from paragone import InputError, ParagoneError
from paragone.wording import counted
from paragone_cli.command_line import INTERRUPTED
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.event_loop import interruptible, run
from paragone_cli.command_line.formats import to_continue
from paragone_cli.command_line.judges import consented_judges
from paragone_cli.command_line.output import note, put_json
from paragone_cli.command_line.saved import opened_history
from paragone_cli.measuring.choose import ChooseArguments
from paragone_cli.measuring.choose.choose_progress import ChooseProgress
from paragone_cli.measuring.choose.choose_report import check_report, write_choice
from paragone_cli.measuring.choose.choose_text import put_decision
from paragone_workbench.choosing.choice import Choice
from paragone_workbench.choosing.evidence import too_few_prompts
from paragone_workbench.choosing.questions import QUESTIONS, deciding_suite, for_questions
from paragone_workbench.choosing.timing.durations import parse_duration
from paragone_workbench.compare.parity.findings import joined
from paragone_workbench.experiments.running.request import SuiteRequest
from paragone_workbench.experiments.suites.assertions import load_assertions
from paragone_workbench.measure.fit.gpu_sizes import parse_sizes


def choose_run(args: ChooseArguments) -> int:
    """Measure and print. Returns the exit code."""
    seconds = None if args.time is None else parse_duration(args.time)
    vram = () if args.vram is None else parse_sizes(args.vram)
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
    with closing(load_assertions(note)) as catalog:
        suite = deciding_suite(args.suite, catalog, context.system(args))
        prompts = counted(len(suite.prompts), "prompt")
        source = (
            f"of {suite.name}" if args.suite else "that come with paragone (your own, with --suite, say more)"
        )
        within = "" if args.time is None else f", in at most {args.time}"
        note(f"{joined(names.values())} are compared by the {prompts} {source}{within}.")
        if doubt := too_few_prompts(suite.checked, args.margin / 100, len(engines) - 1):
            note(doubt)
        judges, foreign = consented_judges(context, args.suite or QUESTIONS, suite, engines, catalog)
        request = SuiteRequest(
            suite=suite, engines=engines, judges=judges, foreign_judges=foreign, fresh=args.fresh
        )
        if args.to is not None:
            check_report(args.to, request, force=args.force)

        async def measure() -> tuple[int, int | None]:
            async with opened_history() as history:
                choice = Choice(
                    history=history,
                    registry=context.registry,
                    catalog=catalog,
                    request=request,
                    margin=args.margin / 100,
                    wanted=reference,
                    seconds=seconds,
                    vram=vram,
                )
                return await _measure(args, choice)

        status, experiment = run(measure())
    if args.to is not None and experiment is not None:
        write_choice(args.to, experiment, context.registry)
    elif args.to is not None and status == INTERRUPTED:
        note(f"{args.to} is not written: no prompt of the suite was answered.")
    elif args.to is not None:
        raise ParagoneError("There is no report: nothing was measured.")
    return status


async def _measure(args: ChooseArguments, choice: Choice) -> tuple[int, int | None]:
    """Measure and print. Returns the exit code, and the number of the experiment or None."""
    with ChooseProgress() as choice.observer:
        async with interruptible(choice) as interrupts:
            await choice.measure()
    decision, figures, comparison = await choice.decision()
    missing = choice.missing()
    number = None if choice.experiment is None else choice.experiment.number
    if args.json:
        put_json(
            {
                **decision.to_json(),
                "experiment": None if number is None else f"e{number}",
                "known": choice.taken,
                "engines": [engine.to_json() for engine in figures],
                "left_out": list(choice.left_out),
                "non_inferiority": [verdict.to_json() for verdict in comparison.not_worse],
                "not_measured": list(missing),
            }
        )
    else:
        put_decision(decision, figures, choice, missing)
    if interrupts.interrupted:
        note(f"Interrupted. The measurements so far are kept. {to_continue(fresh=args.fresh)}")
    elif args.fresh and missing:
        note(to_continue(fresh=True))
    return interrupts.exit_code([], nothing_done=False) or int(decision.chosen is None), number
