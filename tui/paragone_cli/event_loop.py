"""Runs the coroutine of a command on an event loop."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Coroutine, Mapping
from typing import TypeVar

from paragone_cli.output import note
from paragone_tui.garbage import begin_collecting
from paragone_workbench.engines.logs import crash_report

__all__ = ["run"]

T = TypeVar("T")


def run(main: Coroutine[None, None, T]) -> T:
    """Run a coroutine on a new event loop. Errors that reach the loop's exception handler are logged to a file."""
    begin_collecting()
    with asyncio.Runner() as runner:
        runner.get_loop().set_exception_handler(_log)
        return runner.run(main)


def _log(loop: asyncio.AbstractEventLoop, context: Mapping[str, object]) -> None:
    error = context.get("exception")
    report = [f"{context.get('message')}\n"]
    if isinstance(error, BaseException):
        report += traceback.format_exception(error)
    note(f"An internal error occurred, and the program continues; {crash_report(''.join(report))}")
