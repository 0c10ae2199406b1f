"""The event loop of commands that need one."""

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
    """Run a coroutine on a loop of its own; mistakes that the loop is told of go to a file, not to the screen."""
    begin_collecting()
    with asyncio.Runner() as runner:
        runner.get_loop().set_exception_handler(_keep)
        return runner.run(main)


def _keep(loop: asyncio.AbstractEventLoop, context: Mapping[str, object]) -> None:
    error = context.get("exception")
    report = [f"{context.get('message')}\n"]
    if isinstance(error, BaseException):
        report += traceback.format_exception(error)
    note(f"A mistake in the program, which goes on: {crash_report(''.join(report))}")
