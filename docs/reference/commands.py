"""The page of the command line: what holds for all commands, and each command, from its declaration."""

import textwrap
from collections.abc import Iterable, Iterator

from docs.reference.using import SECTIONS

from paragone_cli.command_line.arguments import COMMON, Argument
from paragone_cli.commands import (
    COMMANDS,
    EXAMPLES,
    GROUPS,
    HEADINGS,
    commands_of_group,
    summary_of,
    usage_of,
)

HEAD = """# Commands

The command line can do everything with engines that the screen can. `paragone --help`, `paragone COMMAND --help` and
`man paragone` show what this page shows."""


def page() -> str:
    """Return the page."""
    lines = [HEAD, *overview()]
    for title, text in SECTIONS.items():
        lines.append(f"\n## {title}\n{text.rstrip()}")
    lines += ["\n## Options of every command\n", *rows(COMMON)]
    lines += [line for name in EXAMPLES for line in section(name)]
    return "\n".join(lines) + "\n"


def overview() -> Iterator[str]:
    """Yield the table of the commands."""
    yield from ("", "| command | what it does |", "| --- | --- |")
    yield "| [`paragone [ENGINE…]`](#the-screen) | Open the screen: chat with one engine, or compare several. |"
    for name in (name for names in HEADINGS.values() for name in names):
        yield f"| [`paragone {name}`](#paragone-{name}) | {summary_of(name)} |"


def section(top: str) -> Iterator[str]:
    """Yield the lines of a command with its subcommands; of the screen for an empty name."""
    yield f"\n## {f'paragone {top}' if top else 'The screen'}\n"
    if top in GROUPS:
        lists = f"{top} list" in COMMANDS
        yield f"{GROUPS[top]}{' Without a subcommand, the command lists.' if lists else ''}\n"
    yield from ("```sh", textwrap.dedent(EXAMPLES[top].lstrip("\n")), "```")
    for name in commands_of_group(top):
        if top in GROUPS:
            yield f"\n### paragone {name}\n"
        else:
            yield ""
        yield from _command(name)


def _command(name: str) -> Iterator[str]:
    command = COMMANDS[name]
    about = f"{command.summary} {command.details}".rstrip()
    yield textwrap.fill(about, 110, break_long_words=False, break_on_hyphens=False)
    yield f"\n```\n{usage_of(name)}\n```"
    if command.arguments:
        yield ""
        yield from rows(command.arguments)


def rows(found: Iterable[Argument]) -> Iterator[str]:
    """Yield the table of arguments, positional ones first."""
    yield "| argument | meaning |"
    yield "| --- | --- |"
    for it in sorted(found, key=lambda it: bool(it.flags)):
        shown = " ".join(filter(None, (", ".join(it.flags), it.settings.get("metavar", "")))).replace(
            "|", "\\|"
        )
        yield f"| `{shown}` | {it.settings['help']} |"
