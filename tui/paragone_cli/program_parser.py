"""The commands as one parser of argparse, from which the completions of shells and the manual page are made."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from paragone_cli.command_line.arguments import declared
from paragone_cli.commands import COMMANDS, SCREEN, load


def program_parser(
    declared_one: Callable[[argparse.Action], object] = lambda _: None,
) -> argparse.ArgumentParser:
    """Return a parser with a subparser for each command. Command lines are not parsed with it: CommandParser does that.

    The engines of the screen are left out: argparse, and what reads its parsers, would take a command's name for one.
    `declared_one` is called with each argument.
    """
    parser = argparse.ArgumentParser(prog="paragone", description=SCREEN.summary)
    for name, flags, settings in declared(load("").arguments):
        if flags:
            declared_one(parser.add_argument(*flags, dest=name, **settings))
    subparsers = parser.add_subparsers(metavar="COMMAND", title="commands")
    for name, entry in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=entry.summary, description=entry.summary)
        for field, flags, settings in declared(load(name).arguments):
            declared_one(
                subparser.add_argument(*flags, dest=field, **settings)
                if flags
                else subparser.add_argument(field, **settings)
            )
    return parser
