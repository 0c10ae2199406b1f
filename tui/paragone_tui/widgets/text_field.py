"""The base class of fields for several lines, and the handling of keys that it shares with `LineField`."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Offset
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import TextArea

from paragone_tui.textual_internals import bindings_of


async def run_binding(field: Widget, event: events.Key) -> None:
    """Run the action that a field binds to a key, in order with the typed characters.

    Textual runs it once the event has bubbled up to the application. Of keys that arrive at once, the
    characters after a backspace would be inserted before it deletes one.
    """
    for key in (event.key, *event.aliases):
        for binding in bindings_of(field, key):
            if await field.app.run_action(binding.action, field):
                event.stop()
                event.prevent_default()
                return


class TextField(TextArea):
    """Textual's text area. It handles keys one after the other, and undo may show or hide its scroll bar."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+z", "app.suspend", id="suspend", show=False),  # undo in Textual
        Binding("ctrl+underscore,super+z", "undo", "Undo", show=False),  # also ctrl+/ in most terminals
    ]
    cursor_blink = reactive(False, init=False)  # blinking writes 4 kB a second to an idle terminal

    @property
    def has_text(self) -> bool:
        """Whether something is written in it."""
        return self.document.end != (0, 0)

    async def on_key(self, event: events.Key) -> None:
        """Run the action that is bound to the key, if there is one."""
        await run_binding(self, event)

    def scroll_cursor_visible(self, center: bool = False, animate: bool = False) -> Offset:
        """Scroll to the cursor, unless it is outside the text.

        Textual calls this in the middle of an undo, when the scroll bar disappears before the cursor moves
        to where the text was changed; it would raise ValueError. It calls it again once the cursor has moved.
        """
        if self.cursor_location != self.clamp_visitable(self.cursor_location):
            return Offset()
        return super().scroll_cursor_visible(center, animate)
