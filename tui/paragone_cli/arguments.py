"""A command's arguments and options, which are declared once for parsing and for the help text."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, get_args

from paragone import InputError
from paragone_workbench.config.settings import Mode

__all__ = ["ENGINE", "Arguments", "Command", "common", "numbers", "with_schedule"]


class Arguments(argparse.Namespace):
    """The parsed arguments. Each command sets only those that it declares."""

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
    text: Path | None
    window: int
    prompt_tokens: list[int]
    depth: list[int]
    tokens: int
    repeat: int
    logprobs: int | None
    ctx: int | None
    vram: str | None
    backend: str | None
    action: str
    cuda: str | None
    python: str | None
    find_links: str | None
    yes: bool
    subject: str | None
    to: Path | None
    names: list[str]
    repetitions: int | None
    fresh: bool
    retry_failed: bool
    filter: str | None
    junit: Path | None
    skip_invalid: bool
    failed: bool
    experiment: str | None
    all: bool
    style: bool
    target: str | None
    replacements: list[str]
    trust: bool
    limit: int


class _Parser(argparse.ArgumentParser):
    """A parser that raises InputError instead of ending the program."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message[:1].upper()}{message[1:]}.", hint=f"See `{self.prog} --help`.")


class Command:
    """A command with its positional arguments and options, in any order.

    argparse cannot mix positional arguments and options freely, so each kind has its own parser here.
    """

    def __init__(self, name: str, summary: str, *, epilog: Callable[[], str] | None = None) -> None:
        self.name = name
        """Empty for the screen, which needs no command."""
        self.summary = summary
        self.epilog = epilog
        """Returns the end of the help text; that of the screen takes all commands."""
        self.prog = f"paragone {name}".rstrip()
        self.options = _Parser(prog=self.prog, add_help=False, allow_abbrev=False)
        # a prefix that never occurs: the options have been parsed already
        self.words = _Parser(prog=self.prog, add_help=False, prefix_chars="\0")

    def help(self) -> str:
        """Return the help text."""
        whole = argparse.ArgumentParser(
            prog=self.prog,
            parents=[self.words, self.options],
            add_help=False,
            description=self.summary,
            epilog=self.epilog() if self.epilog is not None else None,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        return whole.format_help()

    def parse(self, argv: Sequence[str]) -> Arguments:
        """Parse the command line without the command's name. Raises InputError."""
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
            hint=f"{hint}`{self.prog} --help` lists them. After `--`, arguments may begin with a dash.",
        )


ENGINE = "the name of an engine in config.toml, or an engine spec: BACKEND:MODEL or BACKEND:MODEL@URL"
"""The help text of an argument that names an engine."""


def numbers(text: str) -> list[int]:
    """Return whole numbers separated by commas. For argparse, which makes a sentence of the error."""
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{text!r} is not a list of whole numbers, such as 128,512"
        ) from error


def common(command: Command, *, runs: bool = False, opens: bool = False, prints: bool = False) -> Command:
    """Add the options that several commands share: those for running or opening engines, and for printing data."""
    add = command.options.add_argument
    if runs:
        add("--system", metavar="TEXT", help="system prompt, instead of the one in config.toml")
    if runs or opens:
        add(
            "--set",
            dest="settings",
            metavar="KEY=VALUE",
            action="append",
            default=[],
            help="set an option of each named engine, overriding config.toml; may be repeated",
        )
    if prints:
        add("--json", action="store_true", help="print JSON")
    add("--config", metavar="FILE", type=Path, help="config file to use instead of the user's config.toml")
    add("-h", "--help", action="store_true", help="show this help and exit")
    return command


def with_schedule(command: Command, prefix: str = "", *, default: str) -> None:
    """Add the option for the order of runs. `default` says in words what applies without it."""
    command.options.add_argument(
        "--schedule",
        metavar="MODE",
        choices=get_args(Mode),
        help=f"{prefix}parallel: all at once; sequential: one at a time, for comparable speeds; swap: one in "
        f"memory at a time; auto: parallel if all fit in memory, else swap. Default: {default}",
    )
