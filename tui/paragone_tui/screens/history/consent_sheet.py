"""Asks the user for consent to the actions that an imported file would cause."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import ClassVar

from rich.console import RenderableType
from textual.binding import BindingType

from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.sheet import Sheet


class ConsentSheet(Sheet):
    """Lists the actions that a file would cause. Once the sheet is closed, `is_allowed` has the user's answer."""

    BINDINGS: ClassVar[list[BindingType]] = [("y", "allow", "Allow it"), ("n", "dismiss", "Do not")]
    heading = "Files of somebody else"
    key_hints = (("y", "import and allow"), ("n", "do not import"), ("j k", "scroll"))

    def __init__(self, document: Path, actions: Sequence[str]) -> None:
        """Create the sheet for a file. `actions` describe what the file's engines would do."""
        super().__init__()
        self._document = document
        self._actions = actions
        self.is_allowed = False
        """Whether the user allows the listed actions."""

    def parts(self) -> Iterator[RenderableType]:
        """Yield the actions that the file would cause, and the question."""
        yield f"{one_line(str(self._document))} may come from somebody else. The file asks for actions outside of its folder:\n"
        for action in self._actions:
            yield f"· {one_line(action)}"
        yield "\nImport the file, and allow this when one of its conversations is opened? A yes is remembered for this file."

    def action_allow(self) -> None:
        """Allow the listed actions."""
        self.is_allowed = True
        self.dismiss()
