"""`paragone history continue`: continues an answer that was cut, stopped or interrupted."""

from __future__ import annotations

from paragone import InputError
from paragone_cli.command_line.answer_printer import AnswerPrinter
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.event_loop import interruptible, run
from paragone_cli.command_line.output import note, print_error
from paragone_cli.command_line.progress import ProgressLine
from paragone_cli.command_line.saved import opened_history
from paragone_cli.command_line.stream import Stream
from paragone_cli.recorded.history import HistoryArguments
from paragone_workbench.experiments.ids import parse_id
from paragone_workbench.lanes.continuing import continue_run
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.session import Session
from paragone_workbench.runs.run import Run
from paragone_workbench.store.history import History


def history_continue(args: HistoryArguments) -> int:
    """Continue an answer, print the whole answer, and save it as a variant. Returns the exit code."""
    text = args.only_word("an answer, such as r45")
    found = parse_id(text)
    if found is None or found.kind != "r":
        raise InputError(
            f"{text!r} is not the id of an answer.", hint="`paragone history c7` lists the answers of c7."
        )
    return run(_continue(CommandContext(args), found.number, as_json=args.json))


async def _continue(context: CommandContext, number: int, *, as_json: bool) -> int:
    async with opened_history() as history:
        session = Session(context.registry, engines=context.config.engines)
        session.recorder.open(history)
        async with interruptible(session) as interrupts:
            lane, answer = await _found(session, history, number)
            stream = None if as_json else Stream(interrupts.stop)
            with ProgressLine([lane.engine]) as progress:
                await context.registry.load([lane.engine.definition.backend])
                lane.open()
                if not await lane.engine.opened():
                    raise lane.engine.error or InputError("The engine was closed while it was being opened.")
                again = continue_run(session, lane, answer)
                printer = AnswerPrinter(stream, progress)
                again.subscribe(printer)
                progress.follow(0, again)
                await session.answered()
            await session.saved()
            await printer.finish(again)
        if again.error is not None:
            print_error(again.error)
        else:
            note(f"Saved as r{again.number}, a variant of r{number}.")
        return interrupts.exit_code([] if again.error is None else [again.error], nothing_done=False)


async def _found(session: Session, history: History, number: int) -> tuple[Lane, Run]:
    """Return the answer with this number, and its lane. Raises InputError."""
    await session.reopen(await history.call(lambda store: store.conversation_of(number)))
    answers = ((lane, answer) for lane in session.lanes for answer in lane.record.runs)
    for lane, answer in answers:
        if answer.number == number:
            return lane, answer
    raise InputError(
        f"The lane of r{number} was closed.", hint="Only answers of lanes that are open can go on."
    )
