"""The base class of fields for one line. Not needed to show the first screen."""

from __future__ import annotations

from textual import events
from textual.reactive import reactive
from textual.widgets import Input

from paragone_tui.widgets.text_field import run_binding


class LineField(Input):
    """Textual's input field, with its keys in the order in which they were pressed."""

    cursor_blink = reactive(False, init=False)  # as in `TextField`

    @property
    def has_text(self) -> bool:
        """Whether something is written in it."""
        return bool(self.value)

    async def on_key(self, event: events.Key) -> None:
        """Run the action that is bound to the key, if there is one."""
        await run_binding(self, event)
