"""What can be written on the command line, declared once: help, errors and the docs page follow it."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn, get_args

from paragone import InputError
from paragone_workbench.config.settings import Mode

__all__ = ["COMMANDS", "Arguments", "Command", "help_of", "parse", "screen"]


class Arguments(argparse.Namespace):
    """What was written; each command sets its own part of it."""

    command: str
    help: bool
    version: bool
    config: Path | None
    system: str | None
    settings: list[str]
    images: list[Path]
    json: bool
    engines: list[str]
    engine: str
    prompt: str | None
    schedule: Mode | None
    logprobs: int | None
    backend: str | None
    action: str
    cuda: str | None
    python: str | None
    find_links: str | None
    yes: bool


class _Parser(argparse.ArgumentParser):
    """One whose errors are ours to show."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message[:1].upper()}{message[1:]}.", hint=f"`{self.prog} --help` shows how.")


class Command:
    """A command with its words and its options, which may stand in any order.

    argparse wants words before options or after; so each kind has a parser of its own here.
    """

    def __init__(self, name: str, summary: str) -> None:
        self.name = name
        """Empty for the screen, which has none."""
        self.summary = summary
        self.prog = f"paragone {name}".rstrip()
        self.options = _Parser(prog=self.prog, add_help=False, allow_abbrev=False)
        # nothing looks like an option to it: those have been taken
        self.words = _Parser(prog=self.prog, add_help=False, prefix_chars="\0")

    def help(self) -> str:
        """Return the help text."""
        whole = argparse.ArgumentParser(
            prog=self.prog,
            parents=[self.words, self.options],
            add_help=False,
            description=self.summary,
            epilog=None if self.name else _list(),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        return whole.format_help()

    def parse(self, argv: Sequence[str]) -> Arguments:
        """Parse what stands behind the command's name. Raises InputError."""
        end = argv.index("--") if "--" in argv else len(argv)
        args, words = self.options.parse_known_args(argv[:end], Arguments(command=self.name))
        if args.help:
            return args
        for word in words:
            if word.startswith("-") and word != "-" and " " not in word:
                self._refuse(word)
        return self.words.parse_args([*words, *argv[end + 1 :]], args)

    def _refuse(self, word: str) -> NoReturn:
        known = [flag for action in self.options._actions for flag in action.option_strings]
        near = difflib.get_close_matches(word.partition("=")[0], known, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise InputError(
            f"{self.prog} has no option {word}.",
            hint=f"{hint}`{self.prog} --help` lists them; behind `--` words may begin with a dash.",
        )


def parse(argv: Sequence[str]) -> Arguments:
    """Parse a command line. The first word names a command, or else an engine for the screen.

    Options may stand before the command's name as well; behind `--` no word names a command.
    Raises InputError.
    """
    place = _first_word(argv)
    command = COMMANDS.get(argv[place]) if place is not None else None
    if place is None or command is None:
        return screen().parse(argv)
    return command().parse([*argv[:place], *argv[place + 1 :]])


def _list() -> str:
    """Return the list of commands that the help ends with."""
    lines = [f"  {name:8} {make().summary}" for name, make in COMMANDS.items()]
    last = "`paragone COMMAND --help` tells more. An engine called as a command is: paragone -- ENGINE"
    return "\n".join(["commands:", *lines, "", last])


def help_of(name: str) -> str:
    """Return the help text of a command; of the screen where the name is empty."""
    return (COMMANDS[name] if name else screen)().help()


_VALUED = ("--config", "--system", "--set")
"""Options that may stand before the command's name with a value behind them."""


def _first_word(argv: Sequence[str]) -> int | None:
    takes_value = False
    for place, word in enumerate(argv):
        if takes_value:
            takes_value = False
        elif word == "--":
            return None
        elif word in _VALUED:
            takes_value = True
        elif not word.startswith("-"):
            return place
    return None


def _common(command: Command, *, runs: bool = False, prints: bool = False) -> Command:
    """Give a command the options that it shares: those of running engines, and of printing data."""
    add = command.options.add_argument
    if runs:
        add("--system", metavar="TEXT", help="system prompt, instead of the one in config.toml")
        add(
            "--set",
            dest="settings",
            metavar="KEY=VALUE",
            action="append",
            default=[],
            help="set an option of each engine named, over config.toml; may be repeated",
        )
    if prints:
        add("--json", action="store_true", help="print JSON")
    add("--config", metavar="FILE", type=Path, help="settings to use instead of the user's config.toml")
    add("-h", "--help", action="store_true", help="show this and exit")
    return command


_ENGINE = "an engine's name, or one written on the spot: BACKEND:MODEL or BACKEND:MODEL@URL"


def screen() -> Command:
    """Return what is meant where no command is named."""
    command = Command("", "Swap local inference engines, and set their answers side by side.")
    command.words.add_argument("engines", metavar="ENGINE", nargs="*", help=f"a lane each: {_ENGINE}")
    _common(command, runs=True)
    command.options.add_argument("--version", action="store_true", help="show the version and exit")
    return command


def _demo() -> Command:
    return _common(Command("demo", "Open the screen with two small models that come with it."), runs=True)


def _ask() -> Command:
    command = Command("ask", "Have an engine answer one prompt, and print the answer as it comes.")
    command.words.add_argument("engine", metavar="ENGINE", help=_ENGINE)
    command.words.add_argument(
        "prompt",
        metavar="PROMPT",
        nargs="?",
        help="the prompt; left out or `-`, it is read from standard input; text piped in beside it follows it",
    )
    return _with_images(_with_logprobs(_common(command, runs=True, prints=True)))


def _compare() -> Command:
    command = Command("compare", "Have several engines answer one prompt, and print answers and figures.")
    command.words.add_argument("engines", metavar="ENGINE", nargs="+", help=_ENGINE)
    command.options.add_argument(
        "--prompt",
        metavar="TEXT",
        help="the prompt; left out or `-`, it is read from standard input; text piped in beside it follows it",
    )
    command.options.add_argument(
        "--schedule",
        metavar="MODE",
        choices=get_args(Mode),
        help="parallel: all at once; sequential: one at a time, for speeds that can be compared; swap: one in "
        "memory at a time; auto: parallel where all fit in memory, else swap",
    )
    return _with_images(_with_logprobs(_common(command, runs=True, prints=True)))


def _with_logprobs(command: Command) -> Command:
    """Give a command the option of log-probabilities in its JSON."""
    command.options.add_argument(
        "--logprobs",
        metavar="N",
        type=int,
        help="with --json: each token with its log-probability and those of the N likeliest",
    )
    return command


def _with_images(command: Command) -> Command:
    """Give a command the option of images beside the prompt."""
    command.options.add_argument(
        "--image",
        dest="images",
        metavar="FILE",
        type=Path,
        action="append",
        default=[],
        help="show this image (PNG, JPEG, WebP or GIF) with the prompt; may be repeated",
    )
    return command


def _engines() -> Command:
    return _common(
        Command("engines", "List the engines defined, and whether they can run here."), prints=True
    )


def _models() -> Command:
    command = Command("models", "List the models found in the folders of config.toml, and at endpoints.")
    command.words.add_argument("backend", metavar="BACKEND", nargs="?", help="for this backend alone")
    return _common(command, prints=True)


def _pull() -> Command:
    command = Command("pull", "Have an engine's server download its model.")
    command.words.add_argument("engine", metavar="ENGINE", help=_ENGINE)
    return _common(command)


def _options() -> Command:
    command = Command("options", "List what the engines of a backend can be set to.")
    command.words.add_argument(
        "backend", metavar="BACKEND", help="a backend's name: `paragone doctor` lists them"
    )
    return _common(command, prints=True)


def _config() -> Command:
    command = Command("config", "Say where config.toml belongs, what is wrong in it, or begin one.")
    command.words.add_argument(
        "action",
        metavar="ACTION",
        choices=("path", "check", "init"),
        help="path: where it is looked for; check: all that is wrong in it; init: put a documented one there",
    )
    return _common(command, prints=True)


def _env() -> Command:
    command = Command("env", "Make, list, check or remove environments for engines that need their own.")
    command.words.add_argument(
        "action",
        metavar="ACTION",
        choices=("create", "list", "check", "remove"),
        help="create: install a backend's library in an environment of its own, having said what it takes; "
        "list: those there are; check: import what one is for; remove: delete one",
    )
    command.words.add_argument("backend", metavar="BACKEND", nargs="?", help="whose environment it is")
    add = command.options.add_argument
    add(
        "--cuda",
        metavar="VERSION",
        help="create for this major version of CUDA, instead of what the driver can",
    )
    add("--python", metavar="PATH", help="create with this interpreter")
    add("--find-links", metavar="FOLDER", help="create from wheels in this folder, without a network")
    add("--yes", action="store_true", help="create without asking")
    return _common(command, prints=True)


def _doctor() -> Command:
    return _common(
        Command("doctor", "Say what this machine can run, and what is missing for the rest."), prints=True
    )


COMMANDS: Mapping[str, Callable[[], Command]] = {
    "demo": _demo,
    "ask": _ask,
    "compare": _compare,
    "engines": _engines,
    "models": _models,
    "pull": _pull,
    "options": _options,
    "config": _config,
    "env": _env,
    "doctor": _doctor,
}
"""What makes each command, by name: making all of them at every start would be felt."""
