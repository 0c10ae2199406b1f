"""`paragone pull`: downloads the model of an engine to its server."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass

from paragone import Backend, Json, PullProgress
from paragone.wording import size_text
from paragone_cli.command_line.arguments import ENGINE, Arguments, command, word
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.event_loop import run
from paragone_cli.command_line.formats import bar
from paragone_cli.command_line.output import note, put_line
from paragone_cli.command_line.status_line import StatusLine
from paragone_workbench.engines.definitions import split_options
from paragone_workbench.engines.error_boundary import as_paragone_error
from paragone_workbench.engines.placement import name_reached


@dataclass(frozen=True, kw_only=True)
class PullArguments(Arguments):
    """The engine whose model is downloaded."""

    engine: str = word("ENGINE", ENGINE)


@command(PullArguments)
def pull(args: PullArguments) -> int:
    """Download the model, and show the progress."""
    context = CommandContext(args)
    (definition,) = context.checked([args.engine], [])
    backend = context.registry.get(definition.backend)
    load, _ = split_options(definition, backend)
    name_reached(backend, definition.name, definition.model, load, tell=note)
    run(_follow(backend, definition.model, load))
    put_line(f"{definition.model}: the server has the model")
    return 0


async def _follow(backend: Backend, model: str, options: Mapping[str, Json]) -> None:
    """Run the download and show its progress. Cancelling this coroutine stops the download, if the server can."""
    step: tuple[str, int] | None = None
    with StatusLine() as status:
        try:
            async with contextlib.aclosing(backend.pull(model, options)) as updates:
                async for progress in updates:
                    percent = _percent(progress)
                    before, step = step, (progress.status, percent // 10)
                    if step != before and not status.on:
                        note(_progress_text(progress, percent) if progress.total else f"{progress.status} …")
                    if step != before or status.due:
                        status.show(f"{bar(percent, 100)} {_progress_text(progress, percent)}")
        except asyncio.CancelledError:
            status.end()
            note("No longer waiting; the server may continue the download, or keep the downloaded part.")
            raise
        except Exception as error:
            raise as_paragone_error(error, backend.name) from error


def _percent(progress: PullProgress) -> int:
    """Return the downloaded share of the known total, in whole percent; 100 only if the download is complete."""
    return min(max(100 * progress.done // progress.total, 0), 100) if progress.total else 0


def _progress_text(progress: PullProgress, percent: int) -> str:
    size = f"{percent}% of {size_text(progress.total)}: " if progress.total else ""
    return f"{size}{progress.status}"
