"""Where the prompt is typed: one for all lanes."""

from __future__ import annotations

from collections.abc import Sequence

from textual.widgets import TextArea

__all__ = ["Composer"]


class Composer(TextArea):
    """A text field that grows with its text, and remembers what was sent."""

    DEFAULT_CSS = """
    Composer {
        height: auto;
        min-height: 1;
        max-height: 8;
        border: none;
        border-top: solid $surface-lighten-2;
        padding: 0 1;
        background: $background;
        scrollbar-size-vertical: 1;
        &:focus { border: none; border-top: solid $surface-lighten-2; }
        & .text-area--cursor-line { background: $background; }
    }
    """

    def __init__(self) -> None:
        super().__init__(compact=False, highlight_cursor_line=False, placeholder="Ask every lane …")
        self.cursor_blink = False  # a blinking cursor writes 4 kB a second to an idle terminal
        self._recalled: int | None = None
        self._draft = ""

    def take(self) -> str:
        """Return the text and begin anew."""
        text = self.text
        self.text = ""
        self._recalled = None
        return text

    def recall(self, prompts: Sequence[str], step: int) -> None:
        """Show an earlier (`step` -1) or later (1) prompt; after the last comes what was being typed."""
        if not prompts:
            return
        place = len(prompts) if self._recalled is None else self._recalled
        if place == len(prompts):
            self._draft = self.text
        place = max(0, min(place + step, len(prompts)))
        self._recalled = None if place == len(prompts) else place
        self.text = self._draft if self._recalled is None else prompts[place]
        self.move_cursor(self.document.end)
