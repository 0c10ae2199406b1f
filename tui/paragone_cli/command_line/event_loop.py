"""Runs a command's coroutine on an event loop, where Ctrl+C stops its engines."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import traceback
from collections.abc import AsyncIterator, Coroutine, Mapping, Sequence
from typing import TypeVar

from paragone import InputError, ParagoneError
from paragone_cli.command_line import INTERRUPTED
from paragone_cli.command_line.output import note
from paragone_workbench.engines.failures import crash_report
from paragone_workbench.runs.scheduler import Stoppable

T = TypeVar("T")


def run(main: Coroutine[None, None, T]) -> T:
    gc.enable()  # `main` turned it off for the imports
    with asyncio.Runner() as runner:
        runner.get_loop().set_exception_handler(_log)
        return runner.run(main)


def _log(loop: asyncio.AbstractEventLoop, context: Mapping[str, object]) -> None:
    error = context.get("exception")
    report = [f"{context.get('message')}\n"]
    if isinstance(error, BaseException):
        report += traceback.format_exception(error)
    if (text := "".join(report)) not in _logged:
        _logged.add(text)
        note(f"An internal error occurred, and the program continues; {crash_report(text)}")


_logged: set[str] = set()
"""The internal errors of this process, each of which is reported once."""


@contextlib.asynccontextmanager
async def interruptible(work: Stoppable) -> AsyncIterator[Interrupts]:
    """Let Ctrl+C stop the engines, unless SIGINT is ignored, and close them at the end of the block.

    Python calls the handler also while the event loop waits for a reader of standard output.
    """
    interrupts, loop = Interrupts(work), asyncio.get_running_loop()
    before = signal.getsignal(signal.SIGINT)

    def on_interrupt(number: int, frame: object) -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        loop.call_soon_threadsafe(interrupts.interrupt)

    if before is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield interrupts
    finally:
        if interrupts.stopping is not None:
            await interrupts.stopping
        await work.close()
        signal.signal(signal.SIGINT, before)


class Interrupts:
    """Stops the engines at the first Ctrl+C, so that partial results can be printed; a second Ctrl+C ends the program."""

    def __init__(self, work: Stoppable) -> None:
        self.interrupted = False
        """Whether Ctrl+C was pressed."""
        self.stopping: asyncio.Task[None] | None = None
        """The task that stops the engines, once it has begun."""
        self._work = work

    def stop(self) -> None:
        if self.stopping is None:
            self.stopping = asyncio.create_task(self._work.stop())

    def interrupt(self) -> None:
        self.interrupted = True
        self.stop()

    def exit_code(self, errors: Sequence[ParagoneError], *, nothing_done: bool) -> int:
        """Return the exit code: 2 if nothing was done and the user can correct all errors."""
        if self.interrupted:
            return INTERRUPTED
        if nothing_done and all(error.exit_code == InputError.exit_code for error in errors):
            return InputError.exit_code
        return int(bool(errors))
