"""Declares the arguments of commands as fields of dataclasses, and parses command lines into their values."""

import argparse
import contextlib
import dataclasses
import difflib
import itertools
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeVar

from paragone import InputError
from paragone.texts import quoted
from paragone_workbench.text import is_utf8, visible

A = TypeVar("A", bound="Arguments")
N = TypeVar("N", int, float)


def arg(spec: str, doc: str, **settings: Any) -> Any:
    """Declare an argument: `FILE`, an option such as `-o --to FILE`, or a switch such as `--force`.

    `settings` are keyword arguments of `ArgumentParser.add_argument`.
    """
    *flags, last = spec.split()
    if last.startswith("-"):
        flags, settings = [*flags, last], {"action": "store_true", **settings}
    else:
        settings = {"metavar": last, **settings}
    if settings.get("action") in ("append", "extend"):
        settings = {"default": [], **settings}
    return dataclasses.field(metadata={"flags": flags, "settings": {"help": doc, **settings}})


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """The arguments of every command. A command's frozen subclass adds fields with `arg`."""

    config: Path | None = arg("--config FILE", "config file to use instead of the user's config.toml")
    offline: bool = arg("--offline", "contact nothing outside this process and its engines' processes")
    trust: bool = arg(
        "--trust",
        "allow the addresses, files, commands and interpreters that the config file, a suite or a document names",
    )


class Declared(NamedTuple):
    name: str
    flags: Sequence[str]
    settings: Mapping[str, Any]
    is_common: bool
    """Whether every command has it."""


def declared(kind: type[Arguments]) -> Iterator[Declared]:
    """Yield the arguments, those that several commands have last."""
    inherited = {field.name for base in kind.__bases__ if base is not object for field in fields(base)}
    common = {field.name for field in fields(Arguments)}
    own = [field for field in fields(kind) if field.name not in inherited]
    for field in (*own, *(shared for shared in reversed(fields(kind)) if shared.name in inherited)):
        settings = ({"type": Path} if "Path" in str(field.type) else {}) | field.metadata["settings"]
        yield Declared(field.name, field.metadata["flags"], settings, field.name in common)


def add_arguments(parser: argparse._ActionsContainer, found: Iterable[Declared]) -> None:
    for it in found:
        if it.flags:
            parser.add_argument(*it.flags, dest=it.name, **it.settings)
        else:
            parser.add_argument(it.name, **it.settings)


class _Formatter(argparse.RawDescriptionHelpFormatter):
    def _format_action_invocation(self, action: argparse.Action) -> str:
        """Return the flags of an option with its value once: `-s, --set KEY=VALUE`."""
        if not action.option_strings or action.nargs == 0:
            return super()._format_action_invocation(action)
        return f"{', '.join(action.option_strings)} {self._format_args(action, '')}"


class Parser(argparse.ArgumentParser):
    """A parser that raises InputError instead of ending the program."""

    def __init__(self, prog: str, **settings: Any) -> None:
        super().__init__(prog=prog, allow_abbrev=False, formatter_class=_Formatter, **settings)

    def error(self, message: str) -> NoReturn:
        """Raise the error, with the nearest choice if the value is none of the choices."""
        value = re.search(r"invalid choice: '(.*?)' \(choose from (.*)\)", message)
        near = _nearest(value[1], value[2].replace("'", "").split(", ")) if value else ""
        raise InputError(f"{message[:1].upper()}{message[1:]}.", hint=f"{near}See `{self.prog} --help`.")


def wants_help(argv: Sequence[str]) -> bool:
    return any(word in ("-h", "--help") for word in itertools.takewhile(lambda word: word != "--", argv))


def parse_arguments(kind: type[A], prog: str, argv: Sequence[str]) -> A | None:
    """Parse a command line without the names of the program and of the command; None if the user asks for help.

    Options stand anywhere. argparse cannot mix them freely with positional arguments, so each kind has a parser of its
    own. Raises InputError.
    """
    if wants_help(argv):
        return None
    end = argv.index("--") if "--" in argv else len(argv)
    options = Parser(prog, add_help=False)
    add_arguments(options, (it for it in declared(kind) if it.flags))
    # a prefix that never occurs: the options have been parsed already
    words = Parser(prog, add_help=False, prefix_chars="\0")
    add_arguments(words, (it for it in declared(kind) if not it.flags))
    found, rest = options.parse_known_args(argv[:end])
    for word in rest:
        if word.startswith("-") and word != "-" and " " not in word:
            near = _nearest(word.partition("=")[0], [*options._option_string_actions])
            raise InputError(
                f"{prog} has no option {word}.",
                hint=f"{near}`{prog} --help` lists them. After `--`, arguments may begin with a dash.",
            )
    found = words.parse_args([*rest, *argv[end + 1 :]], found)
    values: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in vars(found).items()
    }
    return kind(**values)


def _nearest(word: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(word, known, n=1)
    return f"Did you mean {near[0]}? " if near else ""


def utf8_text(text: str) -> str:
    if is_utf8(text):
        return text
    raise argparse.ArgumentTypeError(f"{quoted(visible(text))} is not UTF-8 text")


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
