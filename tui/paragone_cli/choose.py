"""`paragone choose`: measures engines, shows the progress, and prints which one to deploy."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Sequence
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from paragone import InputError, ParagoneError
from paragone.files import reading
from paragone.texts import counted, size_text
from paragone_cli.command_line import INTERRUPTED
from paragone_cli.command_line.command_arguments import ChooseArguments
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.event_loop import interruptible, run
from paragone_cli.command_line.formats import to_continue
from paragone_cli.command_line.output import note, put, put_json, put_line, put_table
from paragone_cli.command_line.progress import StatusLine
from paragone_cli.command_line.saved import consented_judges, opened_history, opened_store
from paragone_cli.measurement_progress import BenchProgress, FidelityProgress, SuiteTable
from paragone_workbench.choosing import choice as choices
from paragone_workbench.choosing.decision import Decided, too_few_prompts
from paragone_workbench.choosing.measurements import MOST_USERS, parse_duration
from paragone_workbench.compare.parity_findings import joined
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.assertions import load_assertions
from paragone_workbench.experiments.executor import known_text
from paragone_workbench.experiments.runner import SuiteRunner
from paragone_workbench.experiments.suite import SuiteRequest
from paragone_workbench.files.exporting import write_report
from paragone_workbench.measure.fit import parse_sizes
from paragone_workbench.measure.free_running import MeasurementStep
from paragone_workbench.paths import FileExists
from paragone_workbench.reporting.content import BriefNames
from paragone_workbench.reporting.file import format_of
from paragone_workbench.reporting.verdict import overview_of

L = TypeVar("L", bound=StatusLine)


class ChooseProgress:
    def __init__(self) -> None:
        self._shown = contextlib.ExitStack()
        self._rounds = 0

    def __enter__(self) -> ChooseProgress:
        return self

    def __exit__(self, *error: object) -> None:
        self._shown.close()

    def on_event(self, event: choices.ChoiceEvent) -> None:
        match event:
            case "memory":
                self._show(StatusLine()).show("estimating the memory")
            case choices.LeftOut(sentence):
                self._note(sentence)
            case choices.Known(answers, total):
                self._note(known_text(answers, total))
            case choices.Benching(engines, tests, left) if not left:
                self._bench = self._show(BenchProgress(engines, tests))
            case choices.Benching():
                self._bench.begin(event.left)
            case "fidelity":
                self._fidelity = self._show(FidelityProgress())
            case MeasurementStep():
                self._fidelity.begin(event)
            case "decision":
                self._shown.close()
            case _:
                self._begin_round(event)

    def _begin_round(self, runner: SuiteRunner) -> None:
        if self._rounds and runner.request.chosen is not None:
            self._note(f"The question is open: {counted(len(runner.request.chosen), 'more prompt')}.")
        self._rounds += 1
        table = runner.observer = self._show(SuiteTable())
        table.engines = runner.progress

    def _show(self, line: L) -> L:
        self._shown.close()
        self._shown.enter_context(line)
        return line

    def _note(self, sentence: str) -> None:
        self._shown.close()
        note(sentence)


def check_report(path: Path, request: SuiteRequest, *, force: bool) -> None:
    """Check before hours of measurements that the report can be written. Raises ParagoneError.

    An existing file may be replaced if it is an unchanged report of the same choice, or if `force` is true.
    """
    try:
        format_of(path, replaces=force)
    except FileExists:
        if not _is_own(path, request):
            raise
        format_of(path, replaces=True)


def write_choice(path: Path, experiment: int, registry: Registry) -> None:
    """Write the report of a choice, and save the digest of the file. Raises ParagoneError."""
    with opened_store() as store:
        size = write_report(store, f"e{experiment}", path, registry.find, replaces=True)
        if (choice := store.experiments.choice(experiment)) is not None:
            store.experiments.save_choice(experiment, replace(choice, report=_digest(path)))
    note(f"{path} is written ({size_text(size)}).")


def _is_own(path: Path, request: SuiteRequest) -> bool:
    """Return whether a file is an unchanged report of a choice among these engines, or some of them, by this suite."""
    names = {engine.name for engine in request.engines}
    found = _digest(path)
    with opened_store() as store:
        choices = [
            store.experiments.choice(experiment.number)
            for experiment in store.experiments.all()
            if experiment.name == request.suite.name
            and names.issuperset(it.name for it in experiment.engines)
        ]
    return any(choice is not None and choice.report == found for choice in choices)


def _digest(path: Path) -> str:
    with reading(path, hint="Name another file.") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def put_decision(decided: Decided, choice: choices.Choice, missing: Sequence[str]) -> None:
    """Print the decision: the sentences, a row for each engine, and the missing measurements."""
    decision, figures = decided.decision, decided.figures
    brief = BriefNames([engine.engine for engine in figures])
    put_line(brief.within(decision.headline))
    for sentence in decision.reasons:
        put_line(brief.within(sentence))
    _put_list("Smaller or faster, and not chosen:", map(brief.within, decision.others))
    _put_list("Left out:", choice.left_out)
    if len(figures) > 1:
        put()
        table = overview_of(
            figures,
            reference=decision.reference,
            chosen=decision.chosen,
            benched=decided.benched,
            users=MOST_USERS,
        )
        rows = [
            [
                "▸" if line.stands_out else "",
                f"{line.name} ({line.note})" if line.note else line.name,
                *(cell.text + (f" ({cell.detail})" if cell.detail else "") for cell in line.cells),
            ]
            for line in table.lines
        ]
        put_table([["", "engine", *table.columns], *rows])
        put_line(brief.within(table.note))
    _put_list("Not measured:", map(brief.within, missing))
    if choice.taken and choice.experiment is not None:
        put()
        put(known_text(choice.taken, choice.experiment.runs))
    if choice.experiment is not None:
        name = f"e{choice.experiment.number}"
        put(f"\nSee more: paragone suite compare {name} · paragone report {name} --to report.html")


def _put_list(title: str, sentences: Iterable[str]) -> None:
    sentences = list(sentences)
    if sentences:
        put()
        put(title)
    for sentence in sentences:
        put_line(f"  {sentence}")


def choose(args: ChooseArguments) -> int:
    if len(set(args.engines)) < 2:
        raise InputError(
            "One engine leaves nothing to choose.", hint="Name two or more: paragone choose ENGINE ENGINE…"
        )
    seconds = None if args.time is None else parse_duration(args.time)
    vram = () if args.vram is None else parse_sizes(args.vram)
    context = CommandContext(args)
    texts = tuple(dict.fromkeys(args.engines))
    engines = context.checked(texts, args.settings, args.preset)
    if args.suite is None:
        engines = choices.for_questions(engines, context.registry)
    names = dict(zip(texts, (engine.name for engine in engines), strict=True))
    reference = None if args.reference is None else names.get(args.reference, args.reference)
    if reference is not None and reference not in names.values():
        raise InputError(
            f"The reference {reference!r} is none of the engines.",
            hint=f"The engines are: {', '.join(names.values())}.",
        )
    with closing(load_assertions()) as catalog:
        suite = choices.deciding_suite(args.suite, catalog, context.system(args))
        prompts = counted(len(suite.prompts), "prompt")
        source = (
            f"of {suite.name}" if args.suite else "that come with paragone (your own, with --suite, say more)"
        )
        within = "" if args.time is None else f", in at most {args.time}"
        note(f"{joined(names.values())} are compared by the {prompts} {source}{within}.")
        if doubt := too_few_prompts(suite.checked, args.margin / 100, len(engines) - 1):
            note(doubt)
        judges, foreign = consented_judges(context, args.suite or choices.QUESTIONS, suite, engines, catalog)
        request = SuiteRequest(
            suite=suite, engines=engines, judges=judges, foreign_judges=foreign, fresh=args.fresh
        )
        if args.to is not None:
            check_report(args.to, request, force=args.force)

        async def measure() -> tuple[int, int | None]:
            async with opened_history() as history:
                choice = choices.Choice(
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


async def _measure(args: ChooseArguments, choice: choices.Choice) -> tuple[int, int | None]:
    with ChooseProgress() as progress:
        choice.on_event = progress.on_event
        async with interruptible(choice) as interrupts:
            await choice.measure()
    decided = await choice.decision()
    decision, figures, comparison, _ = decided
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
        put_decision(decided, choice, missing)
    if interrupts.interrupted:
        note(f"Interrupted. The measurements so far are kept. {to_continue(fresh=args.fresh)}")
    elif args.fresh and missing:
        note(to_continue(fresh=True))
    return interrupts.exit_code([], nothing_done=False) or int(decision.chosen is None), number
