"""`paragone` and `paragone demo`: open the screen."""

from collections.abc import Sequence

from paragone import InputError
from paragone.texts import DISTRIBUTION
from paragone_cli.command_line import output
from paragone_cli.command_line.arguments import Arguments
from paragone_cli.command_line.context import CommandContext
from paragone_workbench.config.settings import find_named
from paragone_workbench.engines.definitions import EngineDefinition, settings_of


def open_lanes(args: Arguments) -> int:
    if args.version:
        from importlib.metadata import version

        output.put(f"paragone {version(DISTRIBUTION)}")
        return 0
    context = CommandContext(args, warns=False)
    names = args.engines
    if not names and (args.settings or args.preset is not None):
        names = context.config.lanes.start
        if not names:
            option = "--set" if args.settings else "--preset"
            raise InputError(f"{option} needs an engine.", hint=f"Write: paragone ENGINE {option} …")
    definitions = context.engines(names, args.settings, args.preset, checks=False) if names else None
    return _open(context, args, definitions)


def open_demo(args: Arguments) -> int:
    context = CommandContext(args, warns=False)
    definitions = None  # the screen creates the models and shows the progress
    if args.settings or args.preset is not None:
        from paragone_cli.command_line.event_loop import run
        from paragone_workbench.models import demo_engines

        models = run(demo_engines(context.registry))
        definitions = [context.with_settings(model, args.settings, args.preset) for model in models]
    return _open(context, args, definitions, demo=True)


def _open(
    context: CommandContext,
    args: Arguments,
    definitions: Sequence[EngineDefinition] | None,
    *,
    demo: bool = False,
) -> int:
    """Open the screen with these engines, or with the engines of the settings. Returns the exit code."""
    output.require_terminal(
        "The screen needs a terminal.", hint="`paragone ask` and `paragone compare` do not."
    )
    from paragone_tui.app import ParagoneApp

    app = ParagoneApp(
        config=context.config,
        state=context.state,
        registry=context.registry,
        definitions=definitions,
        mode=context.config.lanes.mode,
        system=context.system_prompt(args),
        demo=demo,
        given=settings_of("", args.settings, [definition.name for definition in definitions or ()]),
        preset=None if args.preset is None else find_named("preset", args.preset, context.config.presets),
    )
    return app.run_until_quit()
