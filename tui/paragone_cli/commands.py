"""The list of the commands. Finds, parses and runs the command that a command line names."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from paragone_cli.command_line.arguments import Arguments, Command, CommandParser, RunArguments, declared
from paragone_cli.command_line.output import put, warn


class CommandEntry(NamedTuple):
    """The module of a command, and a summary for the help text."""

    module: str
    """The module of the command below `paragone_cli`, which is imported when a user runs the command.

    The attribute with the command has the name of the module.
    """
    summary: str


COMMANDS: Mapping[str, CommandEntry] = {
    "demo": CommandEntry("interactive.demo", "Open the screen with two small demo models."),
    "ask": CommandEntry("asking.ask", "Send a prompt to an engine and print its answer as it arrives."),
    "compare": CommandEntry("asking.compare", "Send a prompt to several engines and print their answers and metrics."),
    "fidelity": CommandEntry("measuring.fidelity", "Measure how far engines' distributions are from those of a reference."),
    "fit": CommandEntry("measuring.fit", "Show how much memory an engine would take, whether that fits, and the largest context."),
    "choose": CommandEntry("measuring.choose", "Measure engines, and say which one to deploy, and how much quality it loses."),
    "serve": CommandEntry("serving.serve", "Serve engines to other programs, with the protocol of OpenAI."),
    "suite": CommandEntry("experiments.suite", "Run prompts from a file on several engines, and show the results."),
    "vote": CommandEntry("interactive.vote", "Vote blind on the answers of an experiment."),
    "ratings": CommandEntry("experiments.ratings", "Rate engines by the votes on their answers."),
    "history": CommandEntry("recorded.history", "List, show, search, export and import conversations."),
    "replay": CommandEntry("recorded.replay", "Repeat recorded runs, and show which answers differ and what has changed since."),
    "report": CommandEntry("recorded.report", "Write an experiment or a conversation into a file, to read or to share."),
    "bench": CommandEntry("measuring.bench", "Measure the speed of engines: prefill, decode and latency."),
    "engines": CommandEntry("catalog.engines", "List the defined engines, and whether they can be used."),
    "models": CommandEntry("catalog.models", "List the models in the folders of config.toml and at endpoints."),
    "pull": CommandEntry("catalog.pull", "Download the model of an engine to its server."),
    "options": CommandEntry("catalog.options", "List the options of a backend's engines."),
    "config": CommandEntry("machine.config", "Show where config.toml is, check its content, or create a sample."),
    "env": CommandEntry("machine.env", "Create, list, check or remove virtual environments of backends."),
    "completion": CommandEntry("machine.completion", "Print a script with which bash, zsh or fish complete the command line."),
    "doctor": CommandEntry("machine.doctor", "Show what this machine can run, and what is missing for the rest."),
}  # fmt: skip
"""The commands, by name, in the order of the help text."""

SCREEN = CommandEntry(
    "interactive.lanes_screen", "Run inference engines side by side and compare their answers."
)
"""The command that opens the screen: a command line without a command's name."""


def run(argv: Sequence[str]) -> int:
    """Run a command line and return its exit code. Raises ParagoneError."""
    name, args = parse(argv)
    if args is None:
        put(help_of(name).rstrip("\n"))
        return 0
    from paragone_workbench.network.start import restrict_network  # not for the help text

    if warning := restrict_network(offline=args.offline, config=args.config):
        warn(warning)
    return load(name).run(args)


def parse(argv: Sequence[str]) -> tuple[str, Arguments | None]:
    """Return the name of the command, empty for the screen, and its arguments; None for help. Raises InputError."""
    name, rest = _named(argv)
    return name, CommandParser(name, load(name).arguments).parse(rest)


def help_of(name: str) -> str:
    """Return the help text of a command, or, for an empty name, of the screen with the list of commands."""
    entry = _entry(name)
    return CommandParser(name, load(name).arguments).help(entry.summary, "" if name else _list())


def load(name: str) -> Command[Arguments]:
    """Import a command, or for an empty name the screen."""
    entry = _entry(name)
    module = importlib.import_module(f"paragone_cli.{entry.module}")
    command: object = getattr(module, entry.module.rpartition(".")[2])
    assert isinstance(command, Command)
    return command


def _entry(name: str) -> CommandEntry:
    return COMMANDS[name] if name else SCREEN


def _list() -> str:
    """Return the list of commands for the end of the help text."""
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
