"""The commands as one argparse parser, from which the completions of shells and the manual page are made."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from paragone_cli.command_line.arguments import declared
from paragone_cli.commands import COMMANDS, SCREEN, load


def program_parser(
    on_argument: Callable[[argparse.Action], object] = lambda _: None,
) -> argparse.ArgumentParser:
    """Return a parser with a subparser for each command. `CommandParser`, not this parser, parses command lines.

    The parser lacks the engines that `paragone ENGINE` opens: argparse would take a command's name for an engine.
    `on_argument` is called with each argument.
    """
    parser = argparse.ArgumentParser(prog="paragone", description=SCREEN.summary)
    for name, flags, settings in declared(load("").arguments):
        if flags:
            on_argument(parser.add_argument(*flags, dest=name, **settings))
    subparsers = parser.add_subparsers(metavar="COMMAND", title="commands")
    for name, entry in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=entry.summary, description=entry.summary)
        for field, flags, settings in declared(load(name).arguments):
            on_argument(
                subparser.add_argument(*flags, dest=field, **settings)
                if flags
                else subparser.add_argument(field, **settings)
            )
    return parser
