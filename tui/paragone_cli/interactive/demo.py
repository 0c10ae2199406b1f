"""`paragone demo`: opens the screen with the demo models."""

from __future__ import annotations

from paragone_cli.command_line.arguments import RunArguments, command
from paragone_cli.command_line.context import CommandContext
from paragone_cli.command_line.event_loop import run


@command(RunArguments)
def demo(args: RunArguments) -> int:
    """Open the screen with the demo models."""
    context = CommandContext(args, warns=False)
    definitions = None  # the screen creates the models and shows the progress
    if args.settings or args.preset is not None:
        from paragone_workbench.inventory.models import demo_engines

        models = run(demo_engines(context.registry))
        definitions = [context.with_settings(model, args.settings, args.preset) for model in models]
    return context.open_screen(args, definitions, demo=True)
