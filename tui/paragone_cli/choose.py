"""`paragone choose`: measures engines, shows the progress, and prints which one to deploy."""

import contextlib
import functools
import itertools
import re
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from paragone import InputError, ParagoneError
from paragone.texts import counted, size_text
from paragone_cli.command_line import INTERRUPTED, event_loop, formats, output, saved
from paragone_cli.command_line.arguments import Arguments
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.next_command import show_next
from paragone_cli.command_line.progress import StatusLine
from paragone_cli.measurement_progress import BenchProgress, FidelityProgress, SuiteTable
from paragone_workbench.choosing import choice as choices
from paragone_workbench.compare.parity_findings import joined
from paragone_workbench.config.state import State
from paragone_workbench.consent import file_digest, remember_export
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments import assertions, comparison, runner
from paragone_workbench.experiments.results import known_text
from paragone_workbench.experiments.suite import SuiteRequest
from paragone_workbench.files.exporting import write_report
from paragone_workbench.measure.bench import Bench
from paragone_workbench.measure.fidelity import MeasurementStep
from paragone_workbench.measure.fit import MemoryPlanner, parse_sizes
from paragone_workbench.measure.free_running import Comparison
from paragone_workbench.paths import FileExists, state_file
from paragone_workbench.reporting.content import NOT_MEASURED, FirstPage
from paragone_workbench.reporting.file import format_of
from paragone_workbench.reporting.verdict import first_page

L = TypeVar("L", bound=StatusLine)
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600}
_OPEN = 3
"""The exit code for an open question, with --strict."""
_LONGEST_S = 30 * 24 * 3600


def parse_duration(text: str) -> int:
    """Return a duration such as `90s`, `30m` or `2h` in seconds. Raises InputError."""
    found = re.fullmatch(r"([0-9]{1,7})\s*([smh]?)", text.strip())
    seconds = int(found[1]) * _UNITS[found[2]] if found else 0
    if not 1 <= seconds <= _LONGEST_S:
        raise InputError(f"{text!r} is not a duration.", hint="Write for example 90s, 30m or 2h.")
    return seconds


@contextlib.contextmanager
def progress() -> Iterator[Callable[[choices.ChoiceEvent], None]]:
    """Show the progress of the phases of a choice one after the other, and yield what shows an event."""
    shown = contextlib.ExitStack()
    rounds, line = itertools.count(), StatusLine()

    def show(phase: L) -> L:
        nonlocal line
        shown.close()
        line = shown.enter_context(phase)
        return phase

    def on_event(event: choices.ChoiceEvent) -> None:
        match event:
            case MemoryPlanner():
                show(StatusLine()).show("estimating the memory")
            case str():
                shown.close()
                output.note(event)
            case Bench():
                show(BenchProgress([engine.name for engine in event.engines], event.tests or event.users))
            case list() if isinstance(line, BenchProgress):
                line.begin(event)
            case Comparison():
                show(FidelityProgress())
            case MeasurementStep() if isinstance(line, FidelityProgress):
                line.begin(event)
            case runner.SuiteRunner():
                chosen = event.request.chosen
                if next(rounds) and chosen is not None:
                    on_event(f"The question is open: {counted(len(chosen), 'more prompt')}.")
                show(SuiteTable(event))

    with shown:
        yield on_event


def check_report(path: Path, request: SuiteRequest, *, force: bool) -> None:
    """Check before hours of measurements that the report can be written. Raises ParagoneError.

    An existing file may be replaced if `force` is true, or if it is an unchanged report of a choice among these
    engines, or some of them, by this suite.
    """
    try:
        format_of(path, replaces=force)
    except FileExists:
        names = {engine.name for engine in request.engines}
        with saved.opened_store() as store:
            own = [
                store.experiments.choice(it.number)
                for it in store.experiments.all()
                if it.name == request.suite.name and names.issuperset(engine.name for engine in it.engines)
            ]
        if file_digest(path) not in [choice.report for choice in own if choice is not None]:
            raise
        format_of(path, replaces=True)


def write_choice(path: Path, experiment: int, registry: Registry) -> None:
    """Write the report of a choice, and save the digest of the file. Raises ParagoneError."""
    with saved.opened_store() as store:
        size = write_report(store, f"e{experiment}", path, registry.find, replaces=True)
        if (choice := store.experiments.choice(experiment)) is not None:
            store.experiments.save_choice(experiment, replace(choice, report=file_digest(path)))
    remember_export(path, State(state_file()))
    output.note(f"{path} is written ({size_text(size)}).")


def put_verdict(page: FirstPage, choice: choices.Choice) -> None:
    for message in (page.headline, *page.reasons):
        output.put_line(message)
    if len(page.overview.lines) > 1:
        output.put()
        output.put("\n".join(output.block_lines(page.overview, marked=True)))
    for title, messages in page.doubts.items():
        output.put(f"\n{title}:")
        for message in messages:
            output.put_line(f"  {message}")
    if choice.experiment is not None and choice.taken:
        output.put(f"\n{known_text(choice.taken, choice.experiment.runs)}")


def choose(args: Arguments) -> int:
    if len(set(args.engines)) < 2:
        raise InputError(
            "One engine leaves nothing to choose.", hint="Name two or more: paragone choose ENGINE ENGINE…"
        )
    seconds = None if args.time is None else parse_duration(args.time)
    vram = () if args.vram is None else parse_sizes(args.vram)
    context = CommandContext(args)
    texts = tuple(dict.fromkeys(args.engines))
    engines = context.engines(texts, args.settings, args.preset)
    if args.suite is None:
        engines = choices.for_questions(engines, context.registry)
    names = dict(zip(texts, (engine.name for engine in engines), strict=True))
    reference = None if args.reference is None else names.get(args.reference, args.reference)
    if reference is not None and reference not in names.values():
        raise InputError(
            f"The reference {reference!r} is none of the engines.",
            hint=f"The engines are: {', '.join(names.values())}.",
        )
    with closing(assertions.load_assertions()) as catalog:
        suite = choices.questions(args.suite, catalog, context.system_prompt(args))
        count = len(suite.prompts)
        prompts = (
            f"{counted(count, 'prompt')} of {suite.name}"
            if args.suite
            else f"{counted(count, 'built-in prompt')} (your own prompts, with --suite, show more)"
        )
        within = "" if args.time is None else f", in at most {args.time}"
        judges, foreign = saved.consented_judges(
            context, args.suite or choices.QUESTIONS, suite, engines, catalog
        )
        request = SuiteRequest(
            suite=suite, engines=engines, judges=judges, foreign_judges=foreign, fresh=args.fresh
        )
        if args.to is not None:
            check_report(args.to, request, force=args.force)
        output.note(f"{joined(names.values())} are compared by the {prompts}{within}.")
        doubt = comparison.too_few_prompts(suite.checked, args.margin / 100, len(engines) - 1)
        if not suite.checked:
            doubt = "The suite has no assertions: the fidelity of the engines decides."
        if doubt:
            output.note(doubt)
        make = functools.partial(
            choices.Choice,
            registry=context.registry,
            catalog=catalog,
            request=request,
            margin=args.margin / 100,
            wanted=reference,
            seconds=seconds,
            vram=vram,
            own=args.suite is not None,
        )
        status, experiment, found = event_loop.run(_measure(args, make))
    if args.to is not None and experiment is not None:
        write_choice(args.to, experiment, context.registry)
    elif args.to is not None and status == INTERRUPTED:
        output.note(f"{args.to} is not written: no prompt of the suite was answered.")
    elif args.to is not None:
        raise ParagoneError("There is no report: nothing was measured.")
    if status == 0 and experiment is not None:
        chosen = next((text for text in texts if names[text] == found), "")
        show_next(args, "choose", id=f"e{experiment}" if args.to is None else "", chosen=chosen)
    return status


async def _measure(
    args: Arguments, make: Callable[..., choices.Choice]
) -> tuple[int, int | None, str | None]:
    async with saved.opened_history() as history:
        choice = make(history=history)
        with progress() as choice.on_event:
            async with event_loop.interruptible(choice) as interrupts:
                await choice.measure()
        await choice.save()
        decision, experiment = await choice.decide(), choice.experiment
    page = first_page(
        decision,
        choice.asked,
        choice.known,
        experiment,
        choice.request.engines,
        choice.registry.find,
        no_memory=choice.no_memory if choice.vram else {},
        unfinished=choice.unfinished(),
    )
    missing, number = page.doubts[NOT_MEASURED], None if experiment is None else experiment.number
    if args.json:
        found = {
            "experiment": None if number is None else f"e{number}",
            "known": choice.taken,
            "users": choice.known.users,
            "left_out": list(choice.left_out),
            "not_measured": list(missing),
        }
        output.put_json({**decision.to_json(), **found})
    else:
        put_verdict(page.shown(), choice)
    if interrupts.interrupted:
        output.note(f"Interrupted. The measurements so far are kept. {formats.to_continue(fresh=args.fresh)}")
    elif args.fresh and missing:
        output.note(formats.to_continue(fresh=True))
    status = interrupts.exit_code([], nothing_done=False) or int(decision.chosen is None)
    if args.strict and status < _OPEN and (decision.verdict != "decided" or decision.is_preliminary):
        status = _OPEN
    return status, number, decision.chosen
