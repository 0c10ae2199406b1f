"""The page of all keys, from the declarations of the screen's commands."""

from collections.abc import Iterable, Iterator

from paragone_tui.commands import COMMANDS, GROUPS
from paragone_tui.keys import active_keys, readable_keys
from paragone_tui.widgets.palette import ELSEWHERE

HEAD = """# All keys

`make reference` writes this page from the declarations of the commands; `f1`, or `?` in an empty prompt, shows the
active keys on the screen. `^a` is ctrl+a. Keys of the first column work while you write a prompt and in lane mode, keys of the second
column only in lane mode, to which `esc` leads. To change the keys of a command, set its name under `[keys]` in
[config.toml](settings.md)."""


def page() -> str:
    """Return the page."""
    return "\n".join([HEAD, *_commands(), *_elsewhere()]) + "\n"


def _commands() -> Iterator[str]:
    keys = active_keys({})
    for group in GROUPS:
        yield f"\n## {group}\n"
        yield "| keys | in lane mode | name | what the command does |"
        yield "| --- | --- | --- | --- |"
        for command in COMMANDS:
            if command.group == group:
                bound = keys[command.id]
                yield f"| {_cell(bound.both)} | {_cell(bound.lane)} | `{command.id}` | {command.help} |"


def _elsewhere() -> Iterator[str]:
    for place, rows in ELSEWHERE.items():
        yield f"\n## {place}\n"
        yield "| keys | what the keys do |"
        yield "| --- | --- |"
        for keys, what in rows:
            yield f"| {_cell([keys])} | {what} |"


def _cell(keys: Iterable[str]) -> str:
    """Return keys as the cell of a table. A pipe would end the cell, and a backtick the code."""
    shown = readable_keys(keys).replace("|", "\\|")
    if not shown:
        return ""
    return f"`` {shown} ``" if "`" in shown else f"`{shown}`"
