"""The base class of fields for several lines, and the limit of pastes that it shares with `LineField`."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Offset
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import TextArea

from paragone.wording import size_text

LONGEST = 50_000
"""Size in bytes up to which a text can be edited. At each key, Textual examines all of it."""
_LINES = 4_000
_LONGEST_LINE = 10_000
"""Number of characters of a line that can be edited. Textual wraps all of the line at each key."""


def is_editable(text: str) -> bool:
    """Return whether a key in a field with this text takes less than 0.1 s."""
    lines = text.splitlines()
    return (
        len(text) < LONGEST
        and len(text.encode(errors="replace")) < LONGEST
        and len(lines) <= _LINES
        and max(map(len, lines), default=0) <= _LONGEST_LINE
    )


def size_of(text: str) -> str:
    """Return the size of a text in readable units of bytes."""
    return size_text(len(text.encode(errors="replace")))


def refuse_paste(field: Widget, event: events.Paste) -> None:
    """Do not insert a text that is too long, and say so."""
    event.stop()
    event.prevent_default()
    field.notify(
        f"Not pasted: {size_of(event.text)} are too long for this field.", severity="warning", markup=False
    )


class TextField(TextArea):
    """Textual's text area, with a limit of what is pasted. Undo may show or hide its scroll bar."""

    DEFAULT_CSS = "TextField .text-area--placeholder { color: $text-muted; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+z", "app.suspend", id="suspend", show=False),  # undo in Textual
        Binding("ctrl+underscore,super+z", "undo", "Undo", show=False),  # also ctrl+/ in most terminals
    ]
    cursor_blink = reactive(False, init=False)  # blinking writes 4 kB a second to an idle terminal

    @property
    def has_text(self) -> bool:
        """Whether something is written in the field."""
        return self.document.end != (0, 0)

    async def on_paste(self, event: events.Paste) -> None:
        """Refuse a paste that would make the text too long to edit; otherwise, Textual inserts it."""
        if not is_editable(self.text + event.text):
            refuse_paste(self, event)

    def scroll_cursor_visible(self, center: bool = False, animate: bool = False) -> Offset:
        """Scroll to the cursor, unless it is outside the text.

        Textual calls this in the middle of an undo, when the scroll bar disappears before the cursor moves
        to where the text was changed; it would raise ValueError. It calls it again once the cursor has moved.
        """
        if self.cursor_location != self.clamp_visitable(self.cursor_location):
            return Offset()
        return super().scroll_cursor_visible(center, animate)
