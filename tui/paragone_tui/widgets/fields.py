"""Fields for text, and dialogs that ask for a line."""

from collections.abc import Awaitable, Callable
from typing import ClassVar, TypeAlias

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.geometry import Offset
from textual.reactive import reactive
from textual.widget import Widget
from textual.widgets import Input, Static, TextArea
from textual.widgets.text_area import Edit, EditResult, Location

from paragone import ParagoneError
from paragone.texts import size_text
from paragone_tui.key_order import ACT
from paragone_tui.terminal.changed_rows_screen import stop_watching
from paragone_tui.terminal.text import one_line, visible
from paragone_tui.widgets.modal import Modal, hints

LONGEST = 50_000
"""Largest size in bytes of a text that can be edited. At each key press, Textual examines the whole text."""
_LINES = 4_000
_LONGEST_LINE = 10_000
"""Longest line, in characters, of a text that can be edited. At each key press, Textual wraps the whole line."""


def is_editable(text: str) -> bool:
    """Return whether the text is so short that a field shows the effect of a key press within 0.1 s."""
    lines = text.splitlines()
    return (
        len(text) < LONGEST
        and len(text.encode(errors="replace")) < LONGEST
        and len(lines) <= _LINES
        and max(map(len, lines), default=0) <= _LONGEST_LINE
    )


def size_of(text: str) -> str:
    return size_text(len(text.encode(errors="replace")))


def refuse_paste(field: Widget, event: events.Paste) -> None:
    event.stop()
    event.prevent_default()
    field.notify(
        f"Not pasted: {size_of(event.text)} are too long for this field.", severity="warning", markup=False
    )


class TextField(TextArea):
    """Textual's text area with a limit on pastes, and readline's keys: `ctrl+y` inserts the text of successive deletions."""

    DEFAULT_CSS = "TextField .text-area--placeholder { color: $text-muted; }"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+k", "delete_to_end", "Delete to the end of the line", show=False),
        Binding("alt+left", "cursor_word_left", "Word back", show=False),
        Binding("alt+right", "cursor_word_right", "Word forward", show=False),
        Binding("ctrl+y", "yank", "Insert the deleted text", show=False),  # redo in Textual
        Binding("ctrl+z", "app.suspend", id="suspend", show=False),  # undo in Textual
        Binding("ctrl+underscore,super+z", "undo", "Undo", show=False),  # also ctrl+/ in most terminals
    ]
    cursor_blink = reactive(False, init=False)  # blinking writes 4 kB a second to an idle terminal

    _killed = ""
    """The text that `ctrl+y` inserts: the last deleted text."""
    _removed = ""
    """The text that the last edit has removed."""
    _edits = 0
    _after_kill: tuple[int, Location] | None = None
    """`_edits` and the cursor's location after the last deletion whose text `ctrl+y` inserts."""

    def on_unmount(self) -> None:
        stop_watching(self)

    def put(self, text: str) -> None:
        if text != self.text:
            self.history.checkpoint()
            self.replace(text, (0, 0), self.document.end, maintain_selection_offset=False)
            self.history.checkpoint()
        self.move_cursor(self.document.end)

    def edit(self, edit: Edit) -> EditResult:
        result = super().edit(edit)
        self._edits += 1
        self._removed = result.replaced_text
        return result

    def _kill(self, delete: Callable[[], None], *, before: bool = False) -> None:
        """Delete text and keep it for `ctrl+y`, joined to the text that was deleted just before."""
        edits, joins = self._edits, self._after_kill == (self._edits, self.cursor_location)
        delete()
        if self._edits != edits:
            kept = self._killed if joins else ""
            self._killed = self._removed + kept if before else kept + self._removed
            self._after_kill = (self._edits, self.cursor_location)

    def action_delete_to_end(self) -> None:
        at_end = self.cursor_location == self.get_cursor_line_end_location()
        self._kill(self.action_delete_right if at_end else self.action_delete_to_end_of_line)

    def action_delete_to_start_of_line(self) -> None:
        self._kill(super().action_delete_to_start_of_line, before=True)

    def action_delete_word_left(self) -> None:
        self._kill(super().action_delete_word_left, before=True)

    def action_delete_word_right(self) -> None:
        self._kill(super().action_delete_word_right)

    def action_yank(self) -> None:
        self.replace(self._killed, *self.selection, maintain_selection_offset=False)

    def action_cut(self) -> None:
        if self.selected_text:
            super().action_cut()

    def get_cursor_line_start_location(self, smart_home: bool = False) -> Location:
        del smart_home
        return (self.cursor_location[0], 0)

    def get_cursor_line_end_location(self) -> Location:
        row = self.cursor_location[0]
        return (row, len(self.document.get_line(row)))

    async def on_paste(self, event: events.Paste) -> None:
        if not is_editable(self.text + event.text):
            refuse_paste(self, event)

    def scroll_cursor_visible(self, center: bool = False, animate: bool = False) -> Offset:
        """During an undo that hides the scroll bar, the cursor is outside the text until Textual calls this again."""
        if self.cursor_location != self.clamp_visitable(self.cursor_location):
            return Offset()
        return super().scroll_cursor_visible(center, animate)


class LineField(Input):
    cursor_blink = reactive(False, init=False)  # blinking would write to an idle terminal

    def validate(self, value: str) -> None:
        """Do not set a class for valid or invalid text: no field has validators, and a change of class recomputes styles."""

    async def on_paste(self, event: events.Paste) -> None:
        if not is_editable(self.value + event.text):
            refuse_paste(self, event)


Act: TypeAlias = Callable[[str], Awaitable[str]]
"""Acts on a line of text, and returns a message about the effect, or an empty text. May raise ParagoneError."""


class Question(Modal[str | None]):
    """Asks for a line of text. The result is the message of `Act`, or None. After an error, the dialog stays open
    with the line."""

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


class Confirmation(Modal[bool | None]):
    """Asks whether to do something. The dialog's result is True after a yes."""

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
