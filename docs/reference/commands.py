"""The page of all commands and options, from the declarations of the commands."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence

from paragone_cli.command_line.arguments import COMMON, Argument
from paragone_cli.commands import COMMANDS, EXAMPLES, GROUPS, names_in

HEAD = """# All commands and options

`make reference` writes this page from the declarations of the commands; it is what `paragone COMMAND --help` shows.
[command-line.md](command-line.md) explains the commands, with their output and examples."""

WORDS = {None: "{}", "?": "[{}]", "*": "[{}…]", "+": "{}…"}
"""How often a positional argument may be given, in a usage line."""


def page() -> str:
    """Return the page."""
    return "\n".join([HEAD, *(line for name in EXAMPLES for line in section(name))]) + "\n"


def section(top: str) -> Iterator[str]:
    """Yield the lines of a command with its subcommands; of the screen for an empty name."""
    yield f"\n## {f'paragone {top}' if top else 'The screen'}\n"
    if top in GROUPS:
        yield f"{GROUPS[top]}\n"
    yield from ("```sh", textwrap.dedent(EXAMPLES[top].lstrip("\n")), "```\n")
    for name in names_in(top):
        if top in GROUPS:
            yield f"\n### paragone {name}\n"
        yield f"{COMMANDS[name].summary}\n"
        yield from table(name, COMMANDS[name].arguments)
    if not top:
        yield "\n## Options of every command\n"
        yield from rows(COMMON)


def table(name: str, own: Sequence[Argument]) -> Iterator[str]:
    """Yield the usage line of a command, and the rows of its arguments."""
    words, options = [], []
    for it in own:
        metavar = it.settings.get("metavar", "")
        if it.flags:
            shown = " ".join(filter(None, (it.flags[-1], metavar))) + ("…" if "nargs" in it.settings else "")
            options.append(shown if it.settings.get("required") else f"[{shown}]")
        else:
            words.append(WORDS[it.settings.get("nargs")].format(metavar))
    yield f"```\n{' '.join(['paragone', *filter(None, [name]), *words, *options])}\n```\n"
    if own:
        yield from rows(own)


def rows(found: Iterable[Argument]) -> Iterator[str]:
    """Yield the table of arguments, positional ones first."""
    yield "| argument | meaning |"
    yield "| --- | --- |"
    for it in sorted(found, key=lambda it: bool(it.flags)):
        shown = " ".join(filter(None, (", ".join(it.flags), it.settings.get("metavar", "")))).replace(
            "|", "\\|"
        )
        yield f"| `{shown}` | {it.settings['help']} |"
