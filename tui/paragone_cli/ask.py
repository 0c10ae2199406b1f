"""`paragone ask`: sends a prompt to an engine and prints the answer as it arrives."""

from __future__ import annotations

from collections.abc import Sequence

from paragone import Caution, Channel, Image
from paragone_cli.arguments import Arguments
from paragone_cli.context import CommandContext
from paragone_cli.event_loop import run
from paragone_cli.interrupts import InterruptHandler
from paragone_cli.logprobs import checked_logprobs
from paragone_cli.output import OutputError, flush, print_error, put_json, warn
from paragone_cli.progress import Progress
from paragone_cli.prompt import read_prompt
from paragone_cli.stream import Stream
from paragone_workbench.compare.answers import answer_json, warnings_of
from paragone_workbench.conversation.images import read_image
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.runs.observer import RunObserver
from paragone_workbench.runs.run import Run
from paragone_workbench.runs.spec import RunSpec
from paragone_workbench.workbench import Workbench

__all__ = ["ask"]


def ask(args: Arguments) -> int:
    """Run the command. Returns the exit code."""
    logprobs = checked_logprobs(args)
    context = CommandContext(args)
    context.warn()
    (definition,) = context.checked([args.engine], args.settings)
    images: Sequence[Image] = [read_image(path) for path in args.images]
    spec = RunSpec.of_prompt(
        read_prompt(args.prompt), images=images, system=context.system(args), logprobs=logprobs
    )
    return run(_ask(Workbench(context.registry), definition, spec, as_json=args.json))


class _Printer(RunObserver):
    """Prints the answer as it arrives, without the thinking before it."""

    def __init__(self, stream: Stream | None, progress: Progress) -> None:
        self.deferred_warnings: list[str] = []
        """Warnings that arrived during the answer, to be printed after it."""
        self._stream = stream
        self._progress = progress
        self._begun = False

    def run_started(self, run: Run) -> None:
        for caution in warnings_of(run.result):
            self.cautioned(run, caution)

    def text_came(self, run: Run, channel: Channel, text: str) -> None:
        if self._stream is not None and channel == "answer":
            if not self._begun:
                self._begun = True
                self._progress.end()
            self._stream.write(text)

    def cautioned(self, run: Run, caution: Caution) -> None:
        if self._begun:
            self.deferred_warnings.append(caution.sentence)
        else:
            self._progress.clear()
            warn(caution.sentence)

    def run_ended(self, run: Run) -> None:
        if run.result.finish == "length" and not any(it.code == "context-full" for it in run.result.cautions):
            self.deferred_warnings.append(
                "The answer is cut: it reached max_tokens, or the end of the context."
            )


async def _ask(workbench: Workbench, definition: EngineDefinition, spec: RunSpec, *, as_json: bool) -> int:
    engine = workbench.add(definition)
    interrupts = InterruptHandler(workbench)
    stream = None if as_json else Stream(interrupts.stop)
    async with interrupts.installed():
        with Progress(workbench.engines) as progress:
            printer = _Printer(stream, progress)
            await workbench.open_all()
            execution = workbench.run(engine, spec, printer)
            progress.follow(0, execution.run)
            await execution.ended()
        answer = execution.run
        if stream is None:
            put_json(answer_json(answer.result))
            flush()
        else:
            await stream.end()
        if stream is None or stream.error is None:
            for sentence in printer.deferred_warnings:
                warn(sentence)
    if stream is not None and stream.error is not None:
        raise OutputError(stream.error)
    if answer.error is not None:
        print_error(answer.error)
    if interrupts.interrupted:
        return 130
    return answer.error.exit_code if answer.error is not None else 0
