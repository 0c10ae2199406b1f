"""`paragone`: opens the screen. This module imports little, because `--help` and `--version` load it too."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass

from paragone import InputError
from paragone_cli.command_line.arguments import ENGINE, RunArguments, command, switch, word
from paragone_cli.command_line.output import put
from paragone_cli.commands import COMMANDS


@dataclass(frozen=True, kw_only=True)
class ScreenArguments(RunArguments):
    """The engines to open, each in a lane, and their settings."""

    engines: Sequence[str] = word("ENGINE", f"an engine to open in a lane: {ENGINE}", nargs="*")
    version: bool = switch("--version", "show the version and exit")


@command(ScreenArguments)
def lanes_screen(args: ScreenArguments) -> int:
    """Print the version, or open the screen with the named engines, by default the engines of the settings."""
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
    try:
        definitions = context.engines(names, args.settings, args.preset) if names else None
    except InputError as error:
        near = difflib.get_close_matches(args.engines[0], COMMANDS, n=1) if args.engines else []
        if near:
            error.hint = f"Did you mean `paragone {near[0]}`? {error.hint}".rstrip()
        raise
    return context.open_screen(args, definitions)
