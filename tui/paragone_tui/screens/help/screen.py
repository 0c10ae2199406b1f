"""The help: all commands with their current keys."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import ClassVar

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widgets import Static

from paragone_tui.commands import COMMANDS, Command, readable
from paragone_tui.widgets.sheet import Sheet

__all__ = ["HelpScreen"]


class HelpScreen(Sheet):
    """Lists the commands with their keys."""

    BINDINGS: ClassVar[list[BindingType]] = [("f1", "dismiss", "Close")]

    def __init__(self, keys: Mapping[str, tuple[str, ...]]) -> None:
        super().__init__()
        self._keys = keys

    def compose(self) -> ComposeResult:
        """Create the list, and a note on how to set keys."""
        with VerticalScroll(id="sheet"):
            yield Static(self._table())
            yield Static(
                '\nThe words in the middle are ids: in config.toml, [keys] stop = "escape,f10" sets keys.',
                markup=False,
            )

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, style="bold")
        table.add_column(no_wrap=True, style="dim")
        table.add_column()
        for group, commands in groupby(sorted(COMMANDS, key=_place), key=lambda command: command.group):
            table.add_row(Text(group, style="bold italic"))
            for command in commands:
                table.add_row(readable(self._keys[command.id]), command.id, command.help)
        table.add_row(Text("Mouse", style="bold italic"))
        table.add_row(
            "wheel", "", "Scroll the lane under it. Shift and the mouse select text, as in any terminal."
        )
        return table


def _place(command: Command) -> int:
    groups = ["Prompt", "Lane", "Lanes", "Conversation", "Program"]
    return groups.index(command.group)
