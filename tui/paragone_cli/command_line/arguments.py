"""The arguments of a command: fields of a dataclass, from which the parser and the help text are made."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Generic, NoReturn, TypeVar, get_args

from paragone import InputError
from paragone.texts import quoted
from paragone_workbench.text import is_utf8, visible

MOST_TOKENS = 2**24
"""Largest number of tokens that an option accepts: the largest size of a context window."""

ENGINE = "the name of an engine in config.toml, or an engine spec: BACKEND:MODEL or BACKEND:MODEL@URL"


def word(metavar: str, doc: str, **settings: Any) -> Any:
    """Declare a positional argument. `settings` are keyword arguments of `ArgumentParser.add_argument`."""
    return _field(doc, metavar=metavar, **settings)


def option(flag: str, doc: str, *, actions: Sequence[str] = (), **settings: Any) -> Any:
    """Declare an option with a value, such as `--text FILE`.

    `actions` are the actions of the command that take the option; empty if all actions take it. `settings` are keyword
    arguments of `ArgumentParser.add_argument`.
    """
    name, metavar = flag.split()
    return _field(doc, name, actions=actions, metavar=metavar, **settings)


def repeated(flag: str, doc: str, **settings: Any) -> Any:
    return option(flag, doc, **{"action": "append", "default": [], **settings})


def switch(flag: str, doc: str, *, actions: Sequence[str] = ()) -> Any:
    return _field(doc, flag, actions=actions, action="store_true")


def force_switch(*actions: str) -> Any:
    doc = "replace the file if it exists; without it, no file is replaced"
    return switch("--force", doc, actions=actions)


def _field(doc: str, *flags: str, actions: Sequence[str] = (), **settings: Any) -> Any:
    settings["help"] = f"{', '.join(actions)}: {doc}" if actions else doc
    return dataclasses.field(metadata={"flags": flags, "settings": settings, "actions": actions})


def utf8_text(text: str) -> str:
    if is_utf8(text):
        return text
    raise argparse.ArgumentTypeError(f"{quoted(visible(text))} is not UTF-8 text")


def schedule_option(*actions: str, default: str) -> Any:
    """Declare the option for the order of runs. `default` describes the default in words."""
    from paragone_workbench.config.settings import Mode  # most commands do not need this module

    doc = (
        "parallel: all engines at once; sequential: one at a time, for comparable speeds; swap: one engine in "
        f"memory at a time; auto: parallel if all fit in memory, else swap. Default: {default}"
    )
    return option("--schedule MODE", doc, actions=actions, choices=get_args(Mode))


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The arguments of every command. A command's frozen subclass adds fields with `word`, `option` and `switch`."""

    config: Path | None = option(
        "--config FILE", "config file to use instead of the user's config.toml", type=Path
    )
    offline: bool = switch("--offline", "contact nothing outside this process and its engines' processes")
    trust: bool = switch(
        "--trust",
        "allow the addresses, files, commands and interpreters that the config file, a suite or a document names",
    )


@dataclass(frozen=True, kw_only=True)
class PrintArguments(Arguments):
    json: bool = switch("--json", "print JSON")


@dataclass(frozen=True, kw_only=True)
class OpenArguments(Arguments):
    settings: Sequence[str] = repeated(
        "--set KEY=VALUE", "set an option of each named engine, overriding config.toml; may be repeated"
    )


@dataclass(frozen=True, kw_only=True)
class RunArguments(OpenArguments):
    system: str | None = option(
        "--system TEXT", "system prompt, instead of that in config.toml", type=utf8_text
    )
    preset: str | None = option(
        "--preset NAME",
        "system prompt and sampling options of this preset in config.toml; --system and --set override them",
    )


A = TypeVar("A", bound=Arguments)
N = TypeVar("N", int, float)


@dataclass(frozen=True)
class Command(Generic[A]):
    arguments: type[A]
    run: Callable[[A], int]


def command(arguments: type[A]) -> Callable[[Callable[[A], int]], Command[A]]:
    return lambda run: Command(arguments, run)


def whole_number(least: int, most: int) -> Callable[[str], int]:
    return _in_range(int, least, most, f"a whole number from {least:,} to {most:,}")


def number_between(least: float, most: float) -> Callable[[str], float]:
    """Return the `type` of an option whose value is a number in this range, with or without decimals."""
    return _in_range(float, least, most, f"a number from {least:g} to {most:g}")


def _in_range(kind: Callable[[str], N], least: N, most: N, wanted: str) -> Callable[[str], N]:
    def read(text: str) -> N:
        with contextlib.suppress(ValueError):  # the text is no number, or has thousands of digits
            if least <= (value := kind(text)) <= most:
                return value
        raise argparse.ArgumentTypeError(f"{quoted(text)} is not {wanted}")

    return read


def whole_numbers(least: int, most: int) -> Callable[[str], list[int]]:
    """Return the `type` of an option whose value is whole numbers in this range, separated by commas."""
    read = whole_number(least, most)
    return lambda text: [read(part) for part in text.split(",")]


def declared(arguments: type[Arguments]) -> Iterator[tuple[str, Sequence[str], Mapping[str, Any]]]:
    inherited = {field.name for base in arguments.__bases__ for field in fields(base)}
    own = [field for field in fields(arguments) if field.name not in inherited]
    for field in (*own, *(shared for shared in reversed(fields(arguments)) if shared.name in inherited)):
        yield field.name, field.metadata["flags"], field.metadata["settings"]


def refuse_untaken(args: Arguments, command: str, action: str, **inherited: Sequence[str]) -> None:
    """Raise InputError if an option was given that this action of a command does not take.

    `inherited` has the actions that take an inherited option, by the name of the option's field.
    """
    for field in fields(args):
        actions = inherited.get(field.name, field.metadata["actions"])
        if actions and action not in actions and getattr(args, field.name) not in (None, False, ()):
            flag, *_ = field.metadata["flags"]
            takers = ", ".join(f"`{command} {other}`" for other in actions)
            verb = "does" if len(actions) == 1 else "do"
            raise InputError(f"`paragone {command} {action}` does not take {flag}; {takers} {verb}.")


class _Parser(argparse.ArgumentParser):
    """A parser that raises InputError instead of ending the program."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message[:1].upper()}{message[1:]}.", hint=f"See `{self.prog} --help`.")


class CommandParser(Generic[A]):
    """Parses the positional arguments and options of a command, in any order.

    argparse cannot mix positional arguments and options freely, so each kind has its own parser here.
    """

    def __init__(self, name: str, arguments: type[A]) -> None:
        self._prog = f"paragone {name}".rstrip()
        self._arguments = arguments
        self._options = _Parser(prog=self._prog, add_help=False, allow_abbrev=False)
        # a prefix that never occurs: the options have been parsed already
        self._words = _Parser(prog=self._prog, add_help=False, prefix_chars="\0")
        for name, flags, settings in declared(arguments):
            if flags:
                self._options.add_argument(*flags, dest=name, **settings)
            else:
                self._words.add_argument(name, **settings)
        self._options.add_argument("-h", "--help", action="store_true", help="show this help and exit")

    def help(self, summary: str, epilog: str = "") -> str:
        return argparse.ArgumentParser(
            prog=self._prog,
            parents=[self._words, self._options],
            add_help=False,
            description=summary,
            epilog=epilog,
            formatter_class=argparse.RawDescriptionHelpFormatter,
        ).format_help()

    def parse(self, argv: Sequence[str]) -> A | None:
        """Parse the command line without the command's name. Return None if the user asks for help. Raises InputError."""
        end = argv.index("--") if "--" in argv else len(argv)
        options, words = self._options.parse_known_args(argv[:end])
        if options.help:
            return None
        for word in words:
            if word.startswith("-") and word != "-" and " " not in word:
                self._refuse(word)
        found = vars(self._words.parse_args([*words, *argv[end + 1 :]], options))
        del found["help"]
        values: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value for name, value in found.items()
        }
        return self._arguments(**values)

    def _refuse(self, word: str) -> NoReturn:
        known = [flag for action in self._options._actions for flag in action.option_strings]
        near = difflib.get_close_matches(word.partition("=")[0], known, n=1)
        hint = f"Did you mean {near[0]}? " if near else ""
        raise InputError(
            f"{self._prog} has no option {word}.",
            hint=f"{hint}`{self._prog} --help` lists them. After `--`, arguments may begin with a dash.",
        )
