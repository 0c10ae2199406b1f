"""The help: all commands with their current keys."""

from __future__ import annotations

from collections.abc import Mapping

from rich.table import Table
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import VerticalScroll
from textual.widgets import Static

from paragone_tui.commands import COMMANDS, GROUPS
from paragone_tui.keys import Keys, readable
from paragone_tui.widgets.sheet import Sheet

__all__ = ["HelpScreen"]

_ELSEWHERE = (
    ("Dialogs", "", ""),
    ("enter", "", "Pick the highlighted line."),
    ("^j ^k down up", "", "Move the highlight."),
    ("esc ^c", "", "Close the dialog."),
    ("j k d u g G q", "", "Scroll and close a page of text, such as this one."),
    ("Votes", "", ""),
    ("a b c … 1 2 3 …", "", "Vote for this answer."),
    ("t x", "", "Vote that the answers are equally good, or all bad."),
    ("s u", "", "Skip without a vote; take the last vote back."),
    ("j k h l g G J K", "", "Scroll the answers; show more of them; scroll the prompt."),
    ("r", "", "Over an experiment: show the names of the last vote."),
    ("Mouse", "", ""),
    ("wheel", "", "Scroll the lane under it. Shift and the mouse select text, as in any terminal."),
)


class HelpScreen(Sheet):
    """Lists the commands with their keys."""

    def __init__(self, keys: Mapping[str, Keys]) -> None:
        super().__init__()
        self._keys = keys

    def compose(self) -> ComposeResult:
        """Create the list, and notes on lane mode and on how to set keys."""
        mode, write = (readable(self._keys[it].all[:1]) for it in ("lane-mode", "write"))
        with VerticalScroll(id="sheet") as box:
            box.border_title = "Help"
            yield Static(
                f"{mode} leads from the prompt to lane mode, {write} leads back. In lane mode, letters and signs "
                "are commands; in the prompt, they are text. The last line of the screen shows the mode.\n",
                markup=False,
            )
            yield Static(self._table())
            yield Static(
                "\nThe names in the middle set keys in config.toml. Letters and signs are for lane mode:\n"
                '[keys]\nzoom = "f10,v"',
                markup=False,
            )

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True, style="bold")
        table.add_column(no_wrap=True, style="dim")
        table.add_column()
        for group in GROUPS:
            table.add_row(Text(group, style="bold italic"))
            for command in COMMANDS:
                if command.group == group:
                    table.add_row(readable(self._keys[command.id].all), command.id, command.help)
        for keys, name, text in _ELSEWHERE:
            table.add_row(keys if text else Text(keys, style="bold italic"), name, text)
        return table
