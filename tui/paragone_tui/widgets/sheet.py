"""The base class of screens with text to read, shown over the lanes until a key closes them."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.getters import query_one

from paragone_tui.widgets.hints import hints
from paragone_tui.widgets.modal import Modal

__all__ = ["Sheet"]


class Sheet(Modal[None]):
    """A scrollable text. Subclasses must put it into a `VerticalScroll(id="sheet")`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("q,enter", "dismiss", "Close"),
        Binding("j,down", "rows(1)", "Row down", show=False),
        Binding("k,up", "rows(-1)", "Row up", show=False),
        Binding("d,ctrl+d", "pages(0.5)", "Half a page down", show=False),
        Binding("u,ctrl+u", "pages(-0.5)", "Half a page up", show=False),
        Binding("pagedown,space", "pages(1)", "Page down", show=False),
        Binding("pageup", "pages(-1)", "Page up", show=False),
        Binding("g,home", "to_start", "To the start", show=False),
        Binding("G,end", "to_end", "To the end", show=False),
    ]
    SCOPED_CSS = False  # else the CSS would apply only inside the subclass, where it matches nothing
    CSS = """
    Sheet {
        align: center middle;
        #sheet {
            width: 100; max-width: 100%; height: auto; max-height: 100%;
            border: round $primary; padding: 0 1; background: $surface;
            scrollbar-size-vertical: 1;
        }
    }
    """

    scroll = query_one("#sheet", VerticalScroll)

    def on_mount(self) -> None:
        """Show the keys at the lower edge."""
        self.scroll.border_subtitle = hints(
            [("j k", "scroll"), ("d u", "half page"), ("g G", "start, end"), ("q", "close")]
        )

    def action_rows(self, rows: int) -> None:
        """Scroll down by a number of rows; up if it is negative."""
        self.scroll.scroll_relative(y=rows, animate=False)

    def action_pages(self, pages: float) -> None:
        """Scroll down by a number of screenfuls; up if it is negative."""
        self.action_rows(round(pages * max(1, self.scroll.size.height - 2)))

    def action_to_start(self) -> None:
        """Scroll to the beginning."""
        self.scroll.scroll_home(animate=False)

    def action_to_end(self) -> None:
        """Scroll to the end."""
        self.scroll.scroll_end(animate=False)
