"""The picker of a text to copy: a block of code, an answer, a turn of all lanes, or the conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets.option_list import Option

from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.picker import Picker
from paragone_workbench.lanes.copies import Copy


class CopyPicker(Picker[tuple[Copy, bool] | None]):
    """The picker's result is the text to copy, and whether it goes to a file instead of the clipboard."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "to_file", "Write it to a file", priority=True)
    ]
    DEFAULT_CSS = "CopyPicker OptionList { text-wrap: nowrap; text-overflow: ellipsis; }"
    heading = "Copy"
    placeholder = "Find what to copy"
    key_hints = (("enter", "copy"), ("^s", "to a file"), ("^j ^k", "move"), ("esc", "close"))

    def __init__(self, copies: Sequence[Copy]) -> None:
        super().__init__()
        self._copies = copies

    def fitting(self, text: str) -> Sequence[Option]:
        """Return the entries whose name or first line contains the text."""
        wanted = text.casefold()
        return [
            Option(
                Content.assemble((one_line(copy.name), "bold"), (f"  {one_line(copy.detail)}", "dim")),
                id=str(at),
            )
            for at, copy in enumerate(self._copies)
            if wanted in f"{copy.name} {copy.detail}".casefold()
        ]

    def pick(self, option_id: str) -> None:
        """Close the picker, and copy the picked text to the clipboard."""
        self.dismiss((self._copies[int(option_id)], False))

    def action_to_file(self) -> None:
        """Close the picker, and write the highlighted text to a file."""
        if self.highlighted:
            self.dismiss((self._copies[int(self.highlighted)], True))
