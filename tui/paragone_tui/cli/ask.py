"""`paragone ask`: one prompt, one engine, the answer as it comes."""

from __future__ import annotations

from collections.abc import Sequence

from paragone import Caution, Channel, Image
from paragone_tui.cli.arguments import Arguments
from paragone_tui.cli.basis import Basis
from paragone_tui.cli.interrupts import Interrupts
from paragone_tui.cli.loop import run
from paragone_tui.cli.output import OutputError, complain, put_json, warn
from paragone_tui.cli.progress import Progress
from paragone_tui.cli.prompt import read_prompt
from paragone_tui.cli.stream import Stream
from paragone_workbench.compare.answers import lane_answer
from paragone_workbench.conversation.images import read_image
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.lanes.lane import Lane, LaneListener
from paragone_workbench.lanes.session import Session
from paragone_workbench.runs.record import Run

__all__ = ["ask"]


def ask(args: Arguments) -> int:
    """Have the engine answer. Returns the exit code."""
    basis = Basis(args)
    basis.warn()
    (definition,) = basis.checked([args.engine], args.settings)
    images = [read_image(path) for path in args.images]
    prompt = read_prompt(args.prompt)
    session = Session(basis.registry, system=basis.system(args))
    return run(_ask(session, definition, prompt, images, as_json=args.json))


class _Printer(LaneListener):
    """Prints the answer as it comes; what was thought before it is not part of it."""

    def __init__(self, stream: Stream | None, progress: Progress) -> None:
        self.left: list[str] = []
        """Warnings that came within the text, to be printed behind it."""
        self._stream = stream
        self._progress = progress
        self._begun = False

    def text_came(self, lane: Lane, run: Run, channel: Channel, text: str) -> None:
        if self._stream is not None and channel == "answer":
            if not self._begun:
                self._begun = True
                self._progress.end()
            self._stream.write(text)

    def cautioned(self, lane: Lane, caution: Caution) -> None:
        if self._begun:
            self.left.append(caution.sentence)
        else:
            self._progress.clear()
            warn(caution.sentence)


async def _ask(
    session: Session, definition: EngineDefinition, prompt: str, images: Sequence[Image], *, as_json: bool
) -> int:
    lane = session.add_lane(definition)
    interrupts = Interrupts(session)
    stream = None if as_json else Stream(interrupts.stop)
    async with interrupts.heard():
        with Progress(session.lanes) as progress:
            printer = _Printer(stream, progress)
            lane.listeners.append(printer)
            session.open_engines()
            session.send(prompt, images)
            await session.answered()
        if stream is None:
            put_json(lane_answer(session.prompts[0], lane))
        else:
            await stream.end()
        for sentence in printer.left:
            warn(sentence)
    if stream is not None and stream.error is not None:
        raise OutputError(stream.error)
    error = lane.runs[session.prompts[0]].error
    if error is not None:
        complain(error)
    if interrupts.came:
        return 130
    return error.exit_code if error is not None else 0
