"""`paragone demo`: opens the screen with the demo models."""

from __future__ import annotations

from dataclasses import dataclass

from paragone_cli.command_line.arguments import RunArguments, command
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.event_loop import run
from paragone_cli.command_line.opening import open_screen

__all__ = ["demo"]


@dataclass(frozen=True, kw_only=True)
class DemoArguments(RunArguments):
    """Settings of the demo models."""


@command(DemoArguments)
def demo(args: DemoArguments) -> int:
    """Open the screen with the demo models."""
    context = CommandContext(args.config, warns=False)
    definitions = None  # the screen creates them and shows the progress
    if args.settings:
        from paragone_workbench.inventory.models import demo_engines

        models = run(demo_engines(context.registry))
        definitions = [context.with_settings(model, args.settings) for model in models]
    return open_screen(context, args.system, definitions, demo=True)
