"""The base class of fields with several lines."""

from __future__ import annotations

from textual.geometry import Offset
from textual.widgets import TextArea

__all__ = ["TextField"]


class TextField(TextArea):
    """Textual's text area, in which undo and redo can show or hide the scroll bar."""

    def scroll_cursor_visible(self, center: bool = False, animate: bool = False) -> Offset:
        """Scroll to the cursor, unless it is outside the text.

        Textual calls this in the middle of an undo, when the scroll bar disappears before the cursor moves
        to where the text was changed; it would raise ValueError. It calls it again once the cursor has moved.
        """
        if self.cursor_location != self.clamp_visitable(self.cursor_location):
            return Offset()
        return super().scroll_cursor_visible(center, animate)
