"""The base class of fields for one line. Not needed to show the first screen."""

from __future__ import annotations

from textual import events
from textual.reactive import reactive
from textual.widgets import Input

from paragone_tui.widgets.text_field import is_editable, refuse_paste


class LineField(Input):
    """Textual's input field, with a limit for pasted texts."""

    cursor_blink = reactive(False, init=False)  # as in `TextField`

    @property
    def has_text(self) -> bool:
        """Whether something is written in the field."""
        return bool(self.value)

    def takes(self, key: str) -> bool:
        """Return whether the field itself uses a key of a character with Alt."""
        del key
        return False

    async def on_paste(self, event: events.Paste) -> None:
        """Refuse a paste that would make the text too long to edit; otherwise, Textual inserts it."""
        if not is_editable(self.value + event.text):
            refuse_paste(self, event)
