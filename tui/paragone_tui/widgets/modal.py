"""Modal screens, which cover the lanes until the user closes them, and which return a result."""

from __future__ import annotations

from typing import ClassVar

from textual.actions import SkipAction
from textual.await_complete import AwaitComplete
from textual.binding import Binding, BindingType
from textual.screen import ModalScreen, ScreenResultType

from paragone_tui.commands import COMMANDS
from paragone_tui.keys import bindings
from paragone_tui.painting.changed_rows_screen import ChangedRowsScreen

SCROLL_BINDINGS: tuple[Binding, ...] = (
    Binding("j,down", "rows(1)", "Row down", show=False),
    Binding("k,up", "rows(-1)", "Row up", show=False),
    Binding("ctrl+d", "pages(0.5)", "Half a page down", show=False),
    Binding("ctrl+u", "pages(-0.5)", "Half a page up", show=False),
    Binding("pagedown,space", "pages(1)", "Page down", show=False),
    Binding("pageup", "pages(-1)", "Page up", show=False),
    Binding("g,home", "to_start", "To the start", show=False),
    Binding("G,end", "to_end", "To the end", show=False),
)
"""The bindings for scrolling in screens with text to read. A screen with these bindings must define their actions."""


class Modal(ChangedRowsScreen[ScreenResultType], ModalScreen[ScreenResultType]):
    """A modal screen that is closed only once, even if Enter is pressed twice in quick succession.

    The command palette offers the screen's bindings, except those declared with `show=False`.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,ctrl+c", "cancel", "Close"),
        *bindings(command for command in COMMANDS if command.group == "Program"),
    ]
    DEFAULT_CSS = """
    Modal {
        align: center middle;
        .framed {
            width: 100; max-width: 100%; height: auto; max-height: 100%;
            border: round $primary; background: $surface;
        }
    }
    """

    HELP: ClassVar[str] = ""
    """The section with which the help begins if the user opens the help on this screen."""

    leaving = False
    """Whether the screen is being closed. Textual may remove the screen's widgets before the screen."""

    def action_cancel(self) -> None:
        """Copy the text that the user selected with the mouse; without a selection, close the screen."""
        try:
            self.action_copy_text()
        except SkipAction:
            self.dismiss()

    def dismiss(self, result: ScreenResultType | None = None) -> AwaitComplete:
        """Close the screen with a result and cancel its workers. Do nothing if the screen is already being closed.

        A screen that another screen covers is not closed: Textual would close the covering screen instead.
        """
        if self.leaving or not self.is_active:
            return AwaitComplete()
        self.leaving = True
        self.workers.cancel_node(self)
        return super().dismiss(result)
