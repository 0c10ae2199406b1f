"""`paragone completion`: prints a script with which a shell completes the command line on the tab key."""

from __future__ import annotations

import argparse
from dataclasses import dataclass

from paragone_cli.command_line.arguments import Arguments, command, word
from paragone_cli.command_line.output import put

SHELLS = ("bash", "zsh", "fish")

_ENGINES = "paragone engines 2>/dev/null | cut -d ' ' -f 1"
"""A command for the shell that prints the names of the engines in config.toml."""


@dataclass(frozen=True, kw_only=True)
class CompletionArguments(Arguments):
    """The shell to print a script for."""

    shell: str = word("SHELL", "the shell whose script is printed", choices=SHELLS)


@command(CompletionArguments)
def completion(args: CompletionArguments) -> int:
    """Print the script."""
    import shtab  # only this command needs shtab

    from paragone_cli.program_parser import program_parser

    engines = shtab.cmd(_ENGINES)
    completed = {
        "FILE": shtab.FILE,
        "FOLDER": shtab.DIRECTORY,
        "PATH": shtab.FILE,
        "FILE|EXPERIMENT": shtab.FILE,
    }
    completed |= dict.fromkeys(("ENGINE", "REFERENCE", "CANDIDATE"), engines)

    def complete(argument: argparse.Action) -> None:
        """Set the attribute of an argument from which shtab reads how to complete the argument."""
        if isinstance(argument.metavar, str) and argument.metavar in completed:
            argument.complete = completed[argument.metavar]  # type: ignore[attr-defined]

    put(shtab.complete(program_parser(complete), shell=args.shell))
    return 0
