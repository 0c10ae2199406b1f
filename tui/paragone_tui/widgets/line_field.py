"""The base class of fields for one line. This module is not imported at start, since the first screen has no such field."""

from __future__ import annotations

from textual import events
from textual.reactive import reactive
from textual.widgets import Input

from paragone_tui.widgets.text_field import is_editable, refuse_paste


class LineField(Input):
    """Textual's input field, with a limit on the length of pasted texts."""

    cursor_blink = reactive(False, init=False)  # blinking would write to an idle terminal
    own_keys = ()
    """The combinations of Alt and a character that the field itself handles: none."""
    has_text = True
    """Characters are always text here, also while the field is empty."""

    def validate(self, value: str) -> None:
        """Set no class that says whether the text is valid: no field has validators, and each class costs new styles."""

    async def on_paste(self, event: events.Paste) -> None:
        """Refuse a paste that would make the text too long to edit. Textual inserts any other paste."""
        if not is_editable(self.value + event.text):
            refuse_paste(self, event)
