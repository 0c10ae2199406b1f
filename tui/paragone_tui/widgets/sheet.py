"""A sheet to read, which lies over the lanes until a key takes it away."""

from __future__ import annotations

from typing import ClassVar

from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.getters import query_one

from paragone_tui.widgets.modal import Modal

__all__ = ["Sheet"]


class Sheet(Modal[None]):
    """What is read stands in a `VerticalScroll(id="sheet")`, which pages up and down."""

    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,q,enter", "dismiss", "Close"),
        ("pageup", "page(-1)", "Up"),
        ("pagedown,space", "page(1)", "Down"),
    ]
    SCOPED_CSS = False  # the scope would be the subclass, in which there is no Sheet
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
        """Scroll by a screenful."""
        self.scroll.scroll_relative(y=pages * max(1, self.scroll.size.height - 2), animate=False)
