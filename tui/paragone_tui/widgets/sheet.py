"""The base class of screens with text to read, shown over the lanes until a key closes them."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.getters import query_one

from paragone_tui.widgets.modal import Modal

__all__ = ["Sheet"]


class Sheet(Modal[None]):
    """A scrollable text. Subclasses must put it into a `VerticalScroll(id="sheet")`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,q,enter", "dismiss", "Close"),
        ("pageup", "page(-1)", "Up"),
        ("pagedown,space", "page(1)", "Down"),
    ]
    SCOPED_CSS = False  # else the CSS would apply only inside the subclass, where it matches nothing
    CSS = """
    Sheet {
        align: center middle;
        #sheet {
            width: 84; max-width: 100%; height: auto; max-height: 100%;
            border: round $primary; padding: 0 1; background: $surface;
            scrollbar-size-vertical: 1;
        }
    }
    """

    scroll = query_one("#sheet", VerticalScroll)

    def action_page(self, pages: int) -> None:
        """Scroll down by a number of screenfuls; up if it is negative."""
        self.scroll.scroll_relative(y=pages * max(1, self.scroll.size.height - 2), animate=False)
