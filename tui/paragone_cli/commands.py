"""Declares the commands of the command line, and parses it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from paragone_cli.arguments import ENGINE, Arguments, Command, common, with_schedule
from paragone_cli.experiment_commands import EXPERIMENT_COMMANDS

__all__ = ["COMMANDS", "help_of", "parse", "screen"]

PROMPT = "the prompt; if omitted or `-`, standard input; if both are given, piped input is appended to it"


def screen() -> Command:
    """Return the command that opens the screen, for a command line without a command's name."""
    command = Command("", "Run inference engines side by side and compare their answers.", epilog=_list)
    command.words.add_argument("engines", metavar="ENGINE", nargs="*", help=f"opened in a lane: {ENGINE}")
    common(command, runs=True)
    command.options.add_argument("--version", action="store_true", help="show the version and exit")
    return command


def _demo() -> Command:
    return common(Command("demo", "Open the screen with two small demo models."), runs=True)


def _ask() -> Command:
    command = Command("ask", "Send a prompt to an engine and print its answer as it arrives.")
    command.words.add_argument("engine", metavar="ENGINE", help=ENGINE)
    command.words.add_argument("prompt", metavar="PROMPT", nargs="?", help=PROMPT)
    return _with_images(_with_logprobs(common(command, runs=True, prints=True)))


def _compare() -> Command:
    command = Command("compare", "Send a prompt to several engines and print their answers and metrics.")
    command.words.add_argument("engines", metavar="ENGINE", nargs="+", help=ENGINE)
    command.options.add_argument("--prompt", metavar="TEXT", help=PROMPT)
    with_schedule(command, default="that of config.toml")
    return _with_images(_with_logprobs(common(command, runs=True, prints=True)))


def _fidelity() -> Command:
    command = Command("fidelity", "Measure how far engines' distributions are from those of a reference.")
    command.words.add_argument("engine", metavar="REFERENCE", help=f"the engine to measure against: {ENGINE}")
    command.words.add_argument(
        "engines", metavar="CANDIDATE", nargs="+", help="an engine to measure, named in the same way"
    )
    add = command.options.add_argument
    add(
        "--text",
        metavar="FILE",
        type=Path,
        help="the text to measure on, in UTF-8; by default a short one that comes with paragone",
    )
    add(
        "--window",
        metavar="N",
        type=int,
        default=512,
        help="size of the windows of the text in tokens, of which the second half is scored; by default 512",
    )
    return common(command, opens=True, prints=True)


def _with_logprobs(command: Command) -> Command:
    """Add the option for log-probabilities in the JSON output."""
    command.options.add_argument(
        "--logprobs",
        metavar="N",
        type=int,
        help="with --json: each token with its log-probability and those of the N most likely tokens",
    )
    return command


def _with_images(command: Command) -> Command:
    """Add the option for images to send with the prompt."""
    command.options.add_argument(
        "--image",
        dest="images",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="send this image (PNG, JPEG, WebP or GIF) with the prompt; may be repeated",
    )
    return command


def _engines() -> Command:
    return common(Command("engines", "List the defined engines, and whether they can be used."), prints=True)


def _models() -> Command:
    command = Command("models", "List the models in the folders of config.toml and at endpoints.")
    command.words.add_argument(
        "backend", metavar="BACKEND", nargs="?", help="list only models of this backend"
    )
    return common(command, prints=True)


def _pull() -> Command:
    command = Command("pull", "Download the model of an engine to its server.")
    command.words.add_argument("engine", metavar="ENGINE", help=ENGINE)
    return common(command)


def _options() -> Command:
    command = Command("options", "List the options of a backend's engines.")
    command.words.add_argument(
        "backend", metavar="BACKEND", help="the backend's name; `paragone doctor` lists the backends"
    )
    return common(command, prints=True)


def _config() -> Command:
    command = Command("config", "Show the path of config.toml, check it, or create a sample.")
    command.words.add_argument(
        "action",
        metavar="ACTION",
        choices=("path", "check", "init"),
        help="path: print its path; check: list all problems in it; init: create a documented sample",
    )
    return common(command, prints=True)


def _env() -> Command:
    command = Command("env", "Create, list, check or remove virtual environments of backends.")
    command.words.add_argument(
        "action",
        metavar="ACTION",
        choices=("create", "list", "check", "remove"),
        help="create: install a backend's library in an environment of its own, after showing its size; "
        "list: list the environments; check: import the library in an environment; remove: delete one",
    )
    command.words.add_argument("backend", metavar="BACKEND", nargs="?", help="the backend of the environment")
    add = command.options.add_argument
    add(
        "--cuda",
        metavar="VERSION",
        help="create: for this major version of CUDA; default: the newest that the driver supports",
    )
    add("--python", metavar="PATH", help="create: with this interpreter")
    add("--find-links", metavar="FOLDER", help="create: from the wheels in this folder, without a network")
    add("--yes", action="store_true", help="create: without confirmation")
    return common(command, prints=True)


def _doctor() -> Command:
    command = Command("doctor", "Show what this machine can run, and what is missing for the rest.")
    command.words.add_argument(
        "backend", metavar="BACKEND", nargs="?", help="check only this backend, and fail if it cannot be used"
    )
    return common(command, prints=True)


COMMANDS: Mapping[str, Callable[[], Command]] = {
    "demo": _demo,
    "ask": _ask,
    "compare": _compare,
    "fidelity": _fidelity,
    **EXPERIMENT_COMMANDS,
    "engines": _engines,
    "models": _models,
    "pull": _pull,
    "options": _options,
    "config": _config,
    "env": _env,
    "doctor": _doctor,
}
"""Factories of the commands, by name. Creating all commands at every start would slow it down."""


def parse(argv: Sequence[str]) -> Arguments:
    """Parse a command line. The first argument is the name of a command, or else an engine for the screen.

    Options may precede the command's name. After `--`, no argument is taken as a command.
    Raises InputError.
    """
    index = _first_argument(argv)
    command = COMMANDS.get(argv[index]) if index is not None else None
    if index is None or command is None:
        return screen().parse(argv)
    return command().parse([*argv[:index], *argv[index + 1 :]])


def _list() -> str:
    """Return the list of commands for the end of the help text."""
    lines = [f"  {name:8} {make().summary}" for name, make in COMMANDS.items()]
    last = (
        "See `paragone COMMAND --help` for each command. "
        "To open an engine that has the name of a command: paragone -- ENGINE"
    )
    return "\n".join(["commands:", *lines, "", last])


def help_of(name: str) -> str:
    """Return the help text of a command, or of the screen for an empty name."""
    return (COMMANDS[name] if name else screen)().help()


_VALUED = ("--config", "--system", "--set")
"""Options with a value that may precede the command's name."""


def _first_argument(argv: Sequence[str]) -> int | None:
    """Return the index of the first argument that is not an option or its value."""
    takes_value = False
    for index, word in enumerate(argv):
        if takes_value:
            takes_value = False
        elif word == "--":
            return None
        elif word in _VALUED:
            takes_value = True
        elif not word.startswith("-"):
            return index
    return None
