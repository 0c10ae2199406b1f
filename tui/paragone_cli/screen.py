"""`paragone` and `paragone demo`: open the screen. No other command imports it."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Sequence

from paragone import InputError
from paragone_cli.arguments import Arguments
from paragone_cli.commands import COMMANDS
from paragone_cli.context import CommandContext
from paragone_cli.event_loop import run
from paragone_workbench.engines.definitions import EngineDefinition

__all__ = ["demo", "screen"]


def screen(args: Arguments) -> int:
    """Open the screen with the named engines, or those of the settings. Returns the exit code."""
    context = CommandContext(args)
    names: Sequence[str] = args.engines
    definitions: tuple[EngineDefinition, ...] | None = None
    if not names and args.settings:
        names = context.config.lanes.start
        if not names:
            raise InputError("--set needs an engine.", hint="Name one: paragone ENGINE --set KEY=VALUE")
    if names:
        try:
            definitions = context.engines(names, args.settings)
        except InputError as error:
            near = difflib.get_close_matches(args.engines[0], COMMANDS, n=1) if args.engines else []
            if near:
                error.hint = f"Did you mean `paragone {near[0]}`? {error.hint}".rstrip()
            raise
    return _run(context, args, definitions)


def demo(args: Arguments) -> int:
    """Open the screen with the demo models. Returns the exit code."""
    context = CommandContext(args)
    definitions: tuple[EngineDefinition, ...] | None = None  # the screen creates them and shows the progress
    if args.settings:
        from paragone_workbench.inventory.demo import demo_engines

        models = run(demo_engines(context.registry))
        definitions = tuple(context.with_settings(model, args.settings) for model in models)
    return _run(context, args, definitions, demo=True)


def _run(
    context: CommandContext,
    args: Arguments,
    definitions: tuple[EngineDefinition, ...] | None,
    *,
    demo: bool = False,
) -> int:
    if not all(stream is not None and stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
        raise InputError("The screen needs a terminal.", hint="`paragone ask` and `paragone compare` do not.")
    from paragone_tui.app import run_screen

    return run_screen(
        config=context.config,
        state=context.state,
        registry=context.registry,
        definitions=definitions,
        mode=context.config.lanes.mode,
        system=context.system(args),
        demo=demo,
    )
