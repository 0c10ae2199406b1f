"""`paragone pull`: having an engine's server download its model."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

from paragone import Backend, Json, PullProgress
from paragone_cli.arguments import Arguments
from paragone_cli.context import CommandContext
from paragone_cli.event_loop import run
from paragone_cli.output import note, one_line, put
from paragone_cli.status_line import StatusLine
from paragone_workbench.engines.definitions import split_options
from paragone_workbench.engines.error_boundary import as_paragone_error
from paragone_workbench.inventory.catalog import size_text

__all__ = ["pull"]

BAR = 30
"""Columns of the progress bar."""


def pull(args: Arguments) -> int:
    """Download the model of the engine that was named. Returns the exit code."""
    context = CommandContext(args)
    context.warn()
    (definition,) = context.checked([args.engine], [])
    backend = context.registry.get(definition.backend)
    load, _ = split_options(definition, backend)
    run(_follow(backend, definition.model, load))
    put(f"{one_line(definition.model)}: the server has it")
    return 0


async def _follow(backend: Backend, model: str, options: Mapping[str, Json]) -> None:
    """Go through the download, and say how far it is. Cancelling this gives the download up."""
    status = StatusLine()
    step: tuple[str, int] | None = None
    try:
        async with contextlib.aclosing(backend.pull(model, options)) as told:
            async for progress in told:
                percent = _percent(progress)
                before, step = step, (progress.status, percent // 10)
                if step != before and not status.on:
                    note(_doing(progress, percent) if progress.total else f"{progress.status} …")
                if step != before or status.due:
                    status.show(f"{_bar(percent)} {_doing(progress, percent)}")
    except asyncio.CancelledError:
        status.end()
        note("The download was given up; the server may keep what it has for the next try.")
        raise
    except Exception as error:
        raise as_paragone_error(error, backend.name) from error
    finally:
        status.end()


def _percent(progress: PullProgress) -> int:
    """Return how much of what is known to come has come; 100 only when all of it has."""
    return min(max(100 * progress.done // progress.total, 0), 100) if progress.total else 0


def _doing(progress: PullProgress, percent: int) -> str:
    size = f"{percent}% of {size_text(progress.total)}: " if progress.total else ""
    return f"{size}{progress.status}"


def _bar(percent: int) -> str:
    full = BAR * percent // 100
    return "█" * full + "░" * (BAR - full)
