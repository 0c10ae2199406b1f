"""`paragone ask`: sends a prompt to an engine and prints the answer as it arrives."""

from __future__ import annotations

from dataclasses import dataclass

from paragone_cli.command_line.answer_printer import AnswerPrinter
from paragone_cli.command_line.arguments import ENGINE, command, word
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.event_loop import interruptible, run
from paragone_cli.command_line.output import print_error
from paragone_cli.command_line.progress import ProgressLine
from paragone_cli.command_line.prompt import PROMPT, PromptArguments, prompt_spec
from paragone_cli.command_line.stream import Stream
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.runs.spec import RunSpec
from paragone_workbench.workbench import Workbench


@dataclass(frozen=True, kw_only=True)
class AskArguments(PromptArguments):
    """The engine to ask, and the prompt."""

    engine: str = word("ENGINE", ENGINE)
    prompt: str | None = word("PROMPT", PROMPT, nargs="?")


@command(AskArguments)
def ask(args: AskArguments) -> int:
    """Print the answer of an engine."""
    context = CommandContext(args)
    (definition,) = context.checked([args.engine], args.settings, args.preset)
    spec = prompt_spec(args, context)
    return run(_ask(Workbench(context.registry), definition, spec, as_json=args.json))


async def _ask(workbench: Workbench, definition: EngineDefinition, spec: RunSpec, *, as_json: bool) -> int:
    engine = workbench.add(definition)
    async with interruptible(workbench) as interrupts:
        stream = None if as_json else Stream(interrupts.stop)
        with ProgressLine(workbench.engines) as progress:
            printer = AnswerPrinter(stream, progress)
            await workbench.open_all()
            execution = workbench.run(engine, spec, printer)
            progress.follow(0, execution.run)
            await execution.ended()
        answer = execution.run
        await printer.finish(answer)
    if answer.error is not None:
        print_error(answer.error)
    errors = [] if answer.error is None else [answer.error]
    return interrupts.exit_code(errors, nothing_done=bool(errors))
