"""The list of the commands. Finds, parses and runs the command that a command line names."""

from __future__ import annotations

import argparse
import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from paragone_cli.command_line.arguments import Arguments, Command, CommandParser, RunArguments, declared
from paragone_cli.command_line.output import put, warn


class CommandEntry(NamedTuple):
    module: str
    """The module of the command below `paragone_cli`, which is imported when a user runs the command.

    The attribute with the command has the command's name; that of the screen is `lanes_screen`.
    """
    summary: str
    imports_much: bool = False
    """Whether importing the module takes long: its arguments are in `command_arguments`."""


COMMANDS: Mapping[str, CommandEntry] = {
    "demo": CommandEntry("screens", "Open the screen with two small demo models."),
    "ask": CommandEntry("asking", "Send a prompt to an engine and print its answer as it arrives."),
    "compare": CommandEntry("asking", "Send a prompt to several engines and print their answers and metrics."),
    "fidelity": CommandEntry("fidelity", "Measure how far engines' distributions are from those of a reference.", imports_much=True),
    "fit": CommandEntry("fit", "Show how much memory an engine would take, whether that fits, and the largest context.", imports_much=True),
    "choose": CommandEntry("choose", "Measure engines, and say which one to deploy, and how much quality it loses.", imports_much=True),
    "serve": CommandEntry("serve", "Serve engines to other programs, with the protocol of OpenAI."),
    "suite": CommandEntry("suite", "Run prompts from a file on several engines, and show the results.", imports_much=True),
    "vote": CommandEntry("screens", "Vote blind on the answers of an experiment."),
    "ratings": CommandEntry("ratings", "Rate engines by the votes on their answers.", imports_much=True),
    "history": CommandEntry("history", "List, show, search, export and import conversations.", imports_much=True),
    "replay": CommandEntry("recorded", "Repeat recorded runs, and show which answers differ and what has changed since."),
    "report": CommandEntry("recorded", "Write an experiment or a conversation into a file, to read or to share."),
    "bench": CommandEntry("bench", "Measure the speed of engines: prefill, decode and latency.", imports_much=True),
    "engines": CommandEntry("catalog", "List the defined engines, and whether they can be used."),
    "models": CommandEntry("catalog", "List the models in the folders of config.toml and at endpoints."),
    "pull": CommandEntry("catalog", "Download the model of an engine to its server."),
    "options": CommandEntry("catalog", "List the options of a backend's engines."),
    "config": CommandEntry("machine", "Show where config.toml is, check its content, or create a sample."),
    "env": CommandEntry("machine", "Create, list, check or remove virtual environments of backends."),
    "completion": CommandEntry("machine", "Print a script with which bash, zsh or fish complete the command line."),
    "doctor": CommandEntry("machine", "Show what this machine can run, and what is missing for the rest."),
}  # fmt: skip
"""The commands, by name, in the order of the help text."""

SCREEN = CommandEntry("screens", "Run inference engines side by side and compare their answers.")
"""The command that opens the screen: a command line without a command's name."""


def run(argv: Sequence[str]) -> int:
    """Run a command line and return its exit code. Raises ParagoneError."""
    name, args = parse(argv)
    if args is None:
        put(help_of(name).rstrip("\n"))
        return 0
    from paragone_workbench.config.network import restrict_network  # not for the help text

    if warning := restrict_network(offline=args.offline, config=args.config):
        warn(warning)
    return load(name).run(args)


def parse(argv: Sequence[str]) -> tuple[str, Arguments | None]:
    """Return the name of the command, empty for the screen, and its arguments; None for help. Raises InputError."""
    name, rest = _named(argv)
    return name, CommandParser(name, arguments_of(name)).parse(rest)


def help_of(name: str) -> str:
    """Return the help text of a command, or, for an empty name, of the screen with the list of commands."""
    entry = _entry(name)
    return CommandParser(name, arguments_of(name)).help(entry.summary, "" if name else _list())


def arguments_of(name: str) -> type[Arguments]:
    """Return the arguments of a command, or for an empty name of the screen."""
    if not _entry(name).imports_much:
        return load(name).arguments
    from paragone_cli.command_arguments import LARGE

    return LARGE[name]


def load(name: str) -> Command[Arguments]:
    entry = _entry(name)
    module = importlib.import_module(f"paragone_cli.{entry.module}")
    command: object = getattr(module, name or "lanes_screen")
    assert isinstance(command, Command)
    return command


def _entry(name: str) -> CommandEntry:
    return COMMANDS[name] if name else SCREEN


def _list() -> str:
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}} {entry.summary}" for name, entry in COMMANDS.items()]
    last = (
        "See `paragone COMMAND --help` for each command. "
        "To open an engine that has the name of a command: paragone -- ENGINE"
    )
    return "\n".join(["commands:", *lines, "", last])


_VALUED = [flag for _, flags, settings in declared(RunArguments) for flag in flags if "metavar" in settings]
"""Options with a value that may precede the command's name."""


def _named(argv: Sequence[str]) -> tuple[str, Sequence[str]]:
    """Return the name of the command and the other arguments; an empty name if no command is named.

    Options may precede the command's name. After `--`, no argument is taken as a command.
    """
    takes_value = False
    for index, word in enumerate(argv):
        if takes_value:
            takes_value = False
        elif word == "--":
            break
        elif word in _VALUED:
            takes_value = True
        elif not word.startswith("-"):
            return (word, [*argv[:index], *argv[index + 1 :]]) if word in COMMANDS else ("", argv)
    return "", argv


def program_parser(
    on_argument: Callable[[argparse.Action], object] = lambda _: None,
) -> argparse.ArgumentParser:
    """Return a parser with a subparser for each command. `CommandParser`, not this parser, parses command lines.

    The parser lacks the engines that `paragone ENGINE` opens: argparse would take a command's name for an engine.
    `on_argument` is called with each argument.
    """
    parser = argparse.ArgumentParser(prog="paragone", description=SCREEN.summary)
    for name, flags, settings in declared(arguments_of("")):
        if flags:
            on_argument(parser.add_argument(*flags, dest=name, **settings))
    subparsers = parser.add_subparsers(metavar="COMMAND", title="commands")
    for name, entry in COMMANDS.items():
        subparser = subparsers.add_parser(name, help=entry.summary, description=entry.summary)
        for field, flags, settings in declared(arguments_of(name)):
            on_argument(
                subparser.add_argument(*flags, dest=field, **settings)
                if flags
                else subparser.add_argument(field, **settings)
            )
    return parser
