"""A dialog that asks for one line of text."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Input

from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.hints import hints
from paragone_tui.widgets.line_field import LineField
from paragone_tui.widgets.modal import Modal


class Question(Modal[str | None]):
    """Its result is the text in the field, or None if the dialog was closed."""

    AUTO_FOCUS = "Input"
    CSS = """
    Question {
        align: center middle;
        #question { width: 76; max-width: 100%; height: 3; border: round $primary; background: $surface; }
        Input { border: none; height: 1; padding: 0 1; background: $surface; }
    }
    """
    LONGEST: ClassVar[int] = 1000
    """Number of characters that the field takes."""

    def __init__(self, question: str, value: str = "") -> None:
        """Create a dialog. `value` is the text to begin with."""
        super().__init__()
        self._question = question
        self._value = value

    def compose(self) -> ComposeResult:
        """Create the field."""
        with Vertical(id="question") as box:
            box.border_title = one_line(self._question)
            box.border_subtitle = hints((("enter", "done"), ("esc", "cancel")))
            yield LineField(one_line(self._value), select_on_focus=False, max_length=self.LONGEST)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        self.dismiss(event.value.strip())
