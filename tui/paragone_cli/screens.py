"""`paragone` and `paragone demo`: open the screen."""

from paragone import InputError
from paragone_cli.command_line.command_arguments import RunArguments, ScreenArguments
from paragone_cli.command_line.output import put


def open_lanes(args: ScreenArguments) -> int:
    if args.version:
        from importlib.metadata import version

        put(f"paragone {version('paragone')}")
        return 0
    from paragone_cli.command_line.context import CommandContext

    context = CommandContext(args, warns=False)
    names = args.engines
    if not names and (args.settings or args.preset is not None):
        names = context.config.lanes.start
        if not names:
            option = "--set" if args.settings else "--preset"
            raise InputError(f"{option} needs an engine.", hint=f"Write: paragone ENGINE {option} …")
    definitions = context.engines(names, args.settings, args.preset, checks=False) if names else None
    return context.open_screen(args, definitions)


def open_demo(args: RunArguments) -> int:
    from paragone_cli.command_line.context import CommandContext
    from paragone_cli.command_line.event_loop import run

    context = CommandContext(args, warns=False)
    definitions = None  # the screen creates the models and shows the progress
    if args.settings or args.preset is not None:
        from paragone_workbench.models import demo_engines

        models = run(demo_engines(context.registry))
        definitions = [context.with_settings(model, args.settings, args.preset) for model in models]
    return context.open_screen(args, definitions, demo=True)
