"""The manual page of `paragone`, from the declarations of the commands and the sections of the page of commands."""

import re
import textwrap
from collections.abc import Iterable, Iterator
from importlib.metadata import metadata

from docs.reference.using import SECTIONS

from paragone.texts import DISTRIBUTION
from paragone_cli.command_line.arguments import COMMON, Argument
from paragone_cli.commands import COMMANDS, EXAMPLES, GROUPS, commands_of_group, usage_of


def page() -> str:
    """Return the page, in the language of man pages."""
    return "\n".join([*_head(), *_commands(), *_sections()]) + "\n"


def _head() -> Iterator[str]:
    yield '.TH PARAGONE 1 "" paragone "User Commands"'
    yield from (".SH NAME", f"paragone \\- {_inline(metadata(DISTRIBUTION)['Summary'])}")
    yield from (".SH SYNOPSIS", f".B {_escaped(usage_of(''))}", ".br", ".B paragone COMMAND …")
    yield from (".SH DESCRIPTION", _about(""))
    yield from (".SH OPTIONS", *_arguments((*COMMANDS[""].arguments, *COMMON)))


def _commands() -> Iterator[str]:
    yield ".SH COMMANDS"
    for top in filter(None, EXAMPLES):
        for name in commands_of_group(top):
            yield from (
                f".SS {_escaped(usage_of(name))}",
                _about(name),
                *_arguments(COMMANDS[name].arguments),
            )
        if top in GROUPS:
            yield from (".PP", "Examples:")
        yield from _verbatim(textwrap.dedent(EXAMPLES[top]).strip())


def _about(name: str) -> str:
    return _inline(f"{COMMANDS[name].summary} {COMMANDS[name].details}".rstrip())


def _arguments(found: Iterable[Argument]) -> Iterator[str]:
    for it in sorted(found, key=lambda it: bool(it.flags)):
        shown = " ".join(filter(None, (", ".join(it.flags), it.settings.get("metavar", ""))))
        yield from (".TP", f".B {_escaped(shown)}", _inline(it.settings["help"]))


def _sections() -> Iterator[str]:
    for title, text in SECTIONS.items():
        yield f".SH {title.upper()}"
        yield from roff(text)


def roff(text: str) -> Iterator[str]:
    """Yield the lines of a Markdown text in the language of man pages: paragraphs, tables and blocks of code."""
    for block in re.findall(r"```.*?```|(?:(?!\n\n|```).)+", text.strip(), re.DOTALL):
        rows = [row.strip("| ").split(" | ") for row in block.strip().splitlines() if row.startswith("|")]
        if block.startswith("```"):
            yield from _verbatim("\n".join(block.splitlines()[1:-1]))
        elif rows:
            for term, meaning in rows[2:]:
                yield from (".TP", _inline(term), _inline(meaning))
        elif block.strip():
            yield from (".PP", _inline(" ".join(block.split())))


def _verbatim(code: str) -> Iterator[str]:
    yield from (".PP", ".nf", ".RS 4", *map(_escaped, code.splitlines()), ".RE", ".fi")


def _inline(text: str) -> str:
    plain = re.sub(r"\[([^\]]+)\]\([^)]*\)", r"\1", _escaped(text))
    return re.sub(r"`([^`]+)`", r"\\fB\1\\fR", plain)


def _escaped(line: str) -> str:
    escaped = line.replace("\\", "\\e").replace("-", "\\-")
    return f"\\&{escaped}" if escaped.startswith((".", "'")) else escaped
