"""Shows the progress of engines on standard error, and streams answers to standard output."""

import asyncio
import contextlib
import os
import queue
import select
import sys
import time
from collections.abc import Callable, Sequence
from typing import Self

from paragone import Caution, Token
from paragone.threads import in_daemon_thread
from paragone_cli.command_line import output
from paragone_tui.terminal.text import visible
from paragone_workbench.compare.divergence import answer_json, warnings_of
from paragone_workbench.engines.engine import EngineTask
from paragone_workbench.runs.run import Run

EVERY = 0.1
"""Minimum seconds between two updates."""

_STEP = 10
"""Percentage points of progress from one printed line to the next, if standard error is not a terminal."""


class StatusLine:
    """Lines of text that are updated in place. The class prints nothing if standard error is not a terminal.

    A context manager; the text is removed at the end of the block.
    """

    def __init__(self) -> None:
        self.on = sys.stderr.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._painted: list[str] = []
        self._next = 0.0
        self._step_done: int | None = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.end()

    @property
    def is_due(self) -> bool:
        """Whether enough time has passed since the last update."""
        return self.on and time.monotonic() >= self._next

    def count_from(self, percent: int | None) -> None:
        """Count steps from this percentage on. None: count no steps."""
        self._step_done = None if percent is None else percent // _STEP * _STEP

    def passes_step(self, percent: int) -> bool:
        """Return whether to print a line: standard error is not a terminal, and ten percent more are done."""
        if self.on or self._step_done is None or percent < self._step_done + _STEP:
            return False
        self.count_from(percent)
        return True

    def show_progress(self, text: str, done: int, total: int) -> None:
        """Show a text in place, or print it as a line after each ten percent."""
        if self.is_due:
            self.show(text)
        elif self.passes_step(100 * done // total):
            output.note(text)

    def show(self, *lines: str) -> None:
        """Replace the text, cut to the size of the terminal."""
        if not self.on:
            return
        self._next = time.monotonic() + EVERY
        # a terminal that does not know its size reports 0
        size = os.get_terminal_size(sys.stderr.fileno())
        width, height = size.columns or 80, size.lines or 24
        cut = [output.shortened(output.one_line(line), width - 1) for line in lines][: height - 1]
        if cut != self._painted:
            rest = "\x1b[J" if len(cut) < len(self._painted) else ""
            self._write(self._top + "\n".join(f"{line}\x1b[K" for line in cut) + rest)
            self._painted = cut

    def clear(self) -> None:
        if self._painted:
            self._write(f"{self._top}\x1b[{'J' if len(self._painted) > 1 else 'K'}")
            self._painted, self._next = [], 0.0

    @property
    def _top(self) -> str:
        below = len(self._painted) - 1
        return f"\x1b[{below}A\r" if below > 0 else "\r"

    def end(self) -> None:
        self.clear()
        self.on = False

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError):  # the terminal was closed
            sys.stderr.write(text)
            sys.stderr.flush()


class ProgressLine(StatusLine):
    def __init__(self, engines: Sequence[EngineTask]) -> None:
        super().__init__()
        self._engines = engines
        self._runs: dict[int, Run] = {}
        if self.on:
            for engine in engines:
                engine.watchers.append(self._update)

    def follow(self, number: int, run: Run) -> None:
        """Show the progress of this run for the engine with this index."""
        self._runs[number] = run
        if self.on:
            run.watchers.append(self._update)

    def _update(self, _: Run | EngineTask) -> None:
        if not self.is_due:
            return
        doing = [_activity(engine, self._runs.get(number)) for number, engine in enumerate(self._engines)]
        if len(doing) == 1:
            self.show(doing[0])
        else:
            named = zip(self._engines, doing, strict=True)
            self.show(" · ".join(f"{engine.definition.name}: {text}" for engine, text in named))


def _activity(engine: EngineTask, run: Run | None) -> str:
    if run is not None and run.phase == "ended":
        return run.state
    if run is not None and run.silent_s:
        whom = "engine" if engine.is_local else "server"
        return f"no data from the {whom} for {run.silent_s} s, Ctrl+C stops"
    if run is not None and run.phase == "queued":
        return "waiting for the server"
    if run is not None and run.phase == "decode" and run.meter is not None:
        thinks = bool(run.thinking) and not run.text
        return f"{'thinking' if thinks else 'writing'}, {run.meter.tokens} tokens"
    if run is not None and run.phase == "prefill":
        if run.progress is not None and run.progress.total:
            return f"reading the prompt {run.progress.done / run.progress.total:.0%}"
        return "reading the prompt"
    if engine.state == "opening":
        return "loading" if engine.load_fraction is None else f"loading {engine.load_fraction:.0%}"
    return "waiting"


class Stream:
    """Writes text in a thread, so that a reader that pauses, such as a pager, blocks neither the engine nor Ctrl+C.

    On a terminal, control characters are made visible; a pipe or a file gets the exact text. A newline that the last
    line lacks is added.
    """

    def __init__(self, on_broken: Callable[[], None]) -> None:
        """`on_broken` is called on the event loop if writing fails."""
        self.error: OSError | None = None
        self._on_broken = on_broken
        self._loop = asyncio.get_running_loop()
        stream = output.standard_output()
        self._descriptor = stream.fileno()
        self._encoding = stream.encoding
        self._terminal = stream.isatty()
        self._held = ""  # a CR whose LF may be in the next chunk
        self._in_line = False
        self._unwritten: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._written = asyncio.wrap_future(in_daemon_thread(self._write_all))

    def write(self, text: str) -> None:
        if not text or self.error is not None:
            return
        if self._terminal:
            text = self._held + text
            self._held = "\r" if text.endswith("\r") else ""
            text = visible(text.removesuffix("\r"))
        self._take(text)

    async def end(self) -> None:
        """End the last line. Returns when all is written or writing failed."""
        text = visible(self._held)
        if self._in_line or text:
            self._take(f"{text}\n")
        self._unwritten.put(None)
        await self._written

    def _take(self, text: str) -> None:
        if text:
            self._in_line = not text.endswith("\n")
            self._unwritten.put(text.encode(self._encoding, "replace"))

    def _write_all(self) -> None:
        try:
            for data in iter(self._unwritten.get, None):
                while data:
                    select.select([], [self._descriptor], [])  # another program may have made it non-blocking
                    data = data[os.write(self._descriptor, data) :]
        except OSError as error:
            self.error = error
            self._loop.call_soon_threadsafe(self._on_broken)


async def print_answer(run: Run, stream: Stream | None, progress: ProgressLine) -> None:
    """Print an answer as it arrives, without the thinking before it, or as JSON if there is no stream. Warnings that
    come after its beginning follow it. Raises OutputError."""
    text, has_begun = run.text, False
    warned: int | None = None
    deferred: list[str] = []

    def warn() -> None:
        nonlocal warned
        cautions = warnings_of(run.result)
        messages = [caution.sentence for caution in cautions[warned:]]
        warned = len(cautions)
        if has_begun:
            deferred.extend(messages)
        elif messages:
            progress.clear()
            for message in messages:
                output.warn(message)

    async for event in run:
        if warned is None or isinstance(event, Caution):
            warn()
        if isinstance(event, Token) and event.channel == "answer":
            text += event.text
        if stream is not None and text:
            if not has_begun:
                has_begun = True
                progress.end()
            stream.write(text)
            text = ""
    warn()
    progress.end()
    if stream is None:
        output.put_json(answer_json(run.result))
        output.flush()
    else:
        await stream.end()
        if stream.error is not None:
            raise output.OutputError(stream.error)
    cut = run.result.cut
    if cut and not any(caution.code == "context-full" for caution in run.cautions):
        deferred.append(cut)
    for message in deferred:
        output.warn(message)
