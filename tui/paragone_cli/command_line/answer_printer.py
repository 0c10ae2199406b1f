"""Prints the answer of one engine as it arrives, with the warnings about it."""

from __future__ import annotations

from dataclasses import dataclass, field

from paragone import Caution, Channel
from paragone_cli.command_line.output import OutputError, flush, put_json, warn
from paragone_cli.command_line.progress import ProgressLine
from paragone_cli.command_line.stream import Stream
from paragone_workbench.compare.answers import answer_json, warnings_of
from paragone_workbench.runs.observer import RunObserver
from paragone_workbench.runs.run import Run


@dataclass(eq=False)
class AnswerPrinter(RunObserver):
    """Prints the answer as it arrives, without the thinking before it."""

    stream: Stream | None
    """None for JSON, which is printed at the end."""
    progress: ProgressLine
    begun: bool = False
    deferred_warnings: list[str] = field(default_factory=list)
    """Warnings that arrived during the answer, to be printed after it."""

    def run_started(self, run: Run) -> None:
        """Print the warnings, and the prefix of the answer if the user gave one."""
        for caution in warnings_of(run.result):
            self.cautioned(run, caution)
        self.text_came(run, "answer", run.text)

    def text_came(self, run: Run, channel: Channel, text: str) -> None:
        """Print the text of the answer."""
        if self.stream is not None and channel == "answer" and text:
            if not self.begun:
                self.begun = True
                self.progress.end()
            self.stream.write(text)

    def cautioned(self, run: Run, caution: Caution) -> None:
        """Print the warning: at once, or after an answer that has begun."""
        if self.begun:
            self.deferred_warnings.append(caution.sentence)
        else:
            self.progress.clear()
            warn(caution.sentence)

    def run_ended(self, run: Run) -> None:
        """Add a warning if the answer is cut, unless the engine has warned of a full context."""
        cut = run.result.cut
        if cut and not any(caution.code == "context-full" for caution in run.result.cautions):
            self.deferred_warnings.append(cut)

    async def finish(self, run: Run) -> None:
        """Print the end of the answer, or the whole answer as JSON, and the deferred warnings. Raises OutputError."""
        if self.stream is None:
            put_json(answer_json(run.result))
            flush()
        else:
            await self.stream.end()
            if self.stream.error is not None:
                raise OutputError(self.stream.error)
        for sentence in self.deferred_warnings:
            warn(sentence)
