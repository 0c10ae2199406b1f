"""The field for one line, and dialogs that ask for a line or a confirmation. Not imported at start."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import ClassVar, TypeAlias

from textual import events, on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Vertical
from textual.reactive import reactive
from textual.widgets import Input, Static

from paragone import ParagoneError
from paragone_tui.key_order import ACT
from paragone_tui.terminal.text import one_line, visible
from paragone_tui.widgets.modal import Modal, hints
from paragone_tui.widgets.text_field import is_editable, refuse_paste


class LineField(Input):
    cursor_blink = reactive(False, init=False)  # blinking would write to an idle terminal
    own_keys = ()
    """The combinations of Alt and a character that the field itself handles: none."""
    has_text = True
    """Characters are always text here, also while the field is empty."""

    def validate(self, value: str) -> None:
        """Set no class that says whether the text is valid: no field has validators, and each class costs new styles."""

    async def on_paste(self, event: events.Paste) -> None:
        if not is_editable(self.value + event.text):
            refuse_paste(self, event)


Act: TypeAlias = Callable[[str], Awaitable[str]]
"""Acts on a line of text, and returns a sentence about the effect, or an empty text. May raise ParagoneError."""


class Question(Modal[str | None]):
    """Asks for a line of text. The result is the sentence of `Act`, or None. An error stays in the dialog, with the line."""

    AUTO_FOCUS = "Input"
    DEFAULT_CSS = """
    Question {
        #question { width: 76; }
        #question Input { border: none; height: 1; padding: 0 1; background: $surface; }
        #remark { height: auto; padding: 0 1; color: $text-muted; display: none; }
    }
    """
    LONGEST: ClassVar[int] = 1000
    """Largest number of characters in the field."""

    def __init__(
        self, question: str, value: str, act: Act, *, meanwhile: str = "", takes_empty: bool = False
    ) -> None:
        super().__init__()
        self._question = question
        self._value = value
        self._act = act
        self._meanwhile = meanwhile
        self._takes_empty = takes_empty

    def compose(self) -> ComposeResult:
        with Vertical(id="question", classes="framed") as box:
            box.border_title = one_line(self._question)
            box.border_subtitle = hints((("enter", "done"), ("esc", "cancel")))
            yield LineField(one_line(self._value), select_on_focus=False, max_length=self.LONGEST)
            yield Static(id="remark", markup=False)

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        line = event.value.strip()
        if not line and not self._takes_empty:
            self.dismiss()
        else:
            self.run_worker(self._work(line), group=ACT)

    async def _work(self, line: str) -> None:
        self._say(self._meanwhile)
        try:
            done = await self._act(line)
        except ParagoneError as error:
            self._say(str(error))
        else:
            self.dismiss(done)

    def _say(self, remark: str) -> None:
        if not self.leaving:
            line = self.query_one("#remark", Static)
            line.update(visible(remark))
            line.display = bool(remark)


class Confirmation(Modal[bool]):
    """Asks whether to do something that cannot be undone. The dialog's result is True after a yes."""

    BINDINGS: ClassVar[list[BindingType]] = [("y", "confirm", "Yes"), ("n", "cancel", "No")]
    DEFAULT_CSS = "Confirmation #question { width: 76; padding: 0 1; }"

    def __init__(self, question: str) -> None:
        super().__init__()
        self._question = question

    def compose(self) -> ComposeResult:
        with Vertical(id="question", classes="framed") as box:
            box.border_subtitle = hints((("y", "yes"), ("n", "no")))
            yield Static(one_line(self._question), markup=False)

    def action_confirm(self) -> None:
        self.dismiss(True)
