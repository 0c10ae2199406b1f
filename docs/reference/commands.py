"""The page of all commands and options, from the declarations of the commands."""

from __future__ import annotations

from collections.abc import Iterator

from paragone_cli.command_line.arguments import declared
from paragone_cli.commands import COMMANDS, SCREEN, load

HEAD = """# All commands and options

`make reference` writes this page from the declarations of the commands; it is what `paragone COMMAND --help` shows.
[command-line.md](command-line.md) explains the commands, with their output and examples."""

WORDS = {None: "{}", "?": "[{}]", "*": "[{}…]", "+": "{}…"}
"""How often a positional argument may be given, in a usage line."""


def page() -> str:
    """Return the page."""
    return "\n".join([HEAD, *(line for name in ("", *COMMANDS) for line in section(name))]) + "\n"


def section(name: str) -> Iterator[str]:
    """Yield the lines of a command; of the screen for an empty name."""
    entry = COMMANDS[name] if name else SCREEN
    words, options = [], []
    rows: dict[bool, list[str]] = {False: [], True: []}
    for _, flags, settings in declared(load(name).arguments):
        metavar = settings.get("metavar", "")
        shown = " ".join(filter(None, (*flags, metavar)))
        if flags:
            several = "…" if "nargs" in settings else ""
            options.append(f"[{shown}{several}]")
        else:
            words.append(WORDS[settings.get("nargs")].format(metavar))
        escaped = shown.replace("|", "\\|")
        rows[bool(flags)].append(f"| `{escaped}` | {settings['help']} |")
    yield f"\n## {f'paragone {name}' if name else 'The screen'}\n"
    yield f"{entry.summary}\n"
    yield f"```\n{' '.join(['paragone', *filter(None, [name]), *words, *options, '[--help]'])}\n```\n"
    yield "| argument | meaning |"
    yield "| --- | --- |"
    yield from (*rows[False], *rows[True])
