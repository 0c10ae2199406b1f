"""The help: all commands with their current keys."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from paragone_tui.commands import COMMANDS, GROUPS
from paragone_tui.keys import Keys, readable
from paragone_tui.widgets.modal import Sheet

_KEYS_CELLS = 16

ELSEWHERE: Mapping[str, Sequence[tuple[str, str]]] = {
    "Editing": [
        ("^a ^e ^left ^right", "Go to the start or the end of the line, or to the next word."),
        ("^k ^u ^w", "Delete to the end or the start of the line, or the word before."),
        ("^y", "Insert what these keys and alt+d have deleted."),
        ("^_ ^/", "Undo the last change of the prompt, also a recalled prompt."),
        ("^x ^v", "Cut what is selected; insert it."),
        ("/", "In an empty prompt: list the commands."),
    ],
    "Dialogs": [
        ("enter", "Pick the highlighted line."),
        ("^j ^k down up", "Move the highlight."),
        ("esc ^c", "Close the dialog."),
        ("tab", "Tick the highlighted engine, to open several side by side."),
        ("^x", "Remove the highlighted engine, or delete the conversation."),
        ("< >", "In the view of where answers part: show the previous or the next fork."),
        ("1 … 9", "In the list of conditions: level the difference with this number."),
        (
            "^underscore super+z",
            "Undo the last change of a text. Most terminals send ctrl+/ as the first key.",
        ),
        ("j k d u g G q", "Scroll and close a page of text, such as this one."),
    ],
    "Conversations": [
        (
            "tab shift+tab slash",
            "Go from the search to the list, and back. In the list, letters are commands.",
        ),
        ("p r t x", "Pin, rename, tag or delete the conversation."),
        ("e E i", "Export the conversation, or all; import conversations."),
        (
            "y n",
            "Confirm or cancel a deletion; allow the actions of an imported file, or do not import the file.",
        ),
    ],
    "Votes": [
        ("a … f 1 … 6", "Vote for this answer."),
        ("t x", "Vote that the answers are equally good, or all bad."),
        ("s u", "Skip without a vote; take back the last vote."),
        ("j k h l g G J K", "Scroll the answers; show more of them; scroll the prompt."),
        ("r", "Over an experiment: show the names of the last vote."),
    ],
    "Signs": [
        ("▸ ◆", "The current lane; the reference, with which the other lanes are compared."),
        ("≠", "Number of conditions that differed between the lanes."),
        ("▎ ┊", "A prompt; the model's thinking."),
        ("· ! ✗ →", "A remark, a warning, an error, and what to do."),
    ],
    "Mouse": [("wheel", "Scroll the lane under it. Shift and the mouse select text, as in any terminal.")],
}
"""Sections of the help on keys that cannot be changed, and on the screen's signs. Each row has keys or signs, and a meaning."""


class HelpScreen(Sheet):
    heading = "Help"

    def __init__(self, keys: Mapping[str, Keys], first: str = "") -> None:
        """Create the screen. The section with the title `first` comes first."""
        super().__init__()
        self._keys = keys
        self._first = first

    def parts(self) -> Iterator[RenderableType]:
        mode, write = self._keys["lane-mode"].first, readable(self._keys["write"].lane[:1])
        yield (
            f"{mode} leads from the prompt to lane mode, {write} leads back. In lane mode, letters and signs "
            "are commands; in the prompt, they are text. The last line of the screen shows the mode. In the prompt, a letter "
            "with alt, or right after esc, runs its command of lane mode, and you go on writing.\n"
        )
        yield self._table()
        yield (
            "\nThe names in the middle set keys in config.toml. Letters and signs are for lane mode:\n"
            '[keys]\nzoom = "f10,v"'
        )

    def _table(self) -> Table:
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(max_width=_KEYS_CELLS, style="bold")
        table.add_column(no_wrap=True, style="dim")
        table.add_column()
        sections = {
            group: [
                (readable(self._keys[command.id].all), command.id, command.help)
                for command in COMMANDS
                if command.group == group
            ]
            for group in GROUPS
        } | {title: [(keys, "", effect) for keys, effect in rows] for title, rows in ELSEWHERE.items()}
        for title in sorted(sections, key=lambda title: title != self._first):  # the rest stays in order
            table.add_row(Text(title, style="bold italic"))
            for row in sections[title]:
                table.add_row(*row)
        return table
