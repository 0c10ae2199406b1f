"""Forms: a column of fields with titles, and a line for messages."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import ClassVar, NamedTuple

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.getters import query_one
from textual.screen import ScreenResultType
from textual.widget import Widget
from textual.widgets import Input, Static

from paragone_tui.terminal.text import one_line, visible
from paragone_tui.widgets.hints import hints
from paragone_tui.widgets.line_field import LineField
from paragone_tui.widgets.modal import Modal

_WIDEST = 30


class FormField(NamedTuple):
    """A field of a form. The hint says what the user can write in the field."""

    name: str
    title: str
    hint: str = ""


class Form(Modal[ScreenResultType]):
    """A modal screen with fields. Enter in any field submits all fields."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "app.focus_previous", "Up", show=False),
        Binding("down", "app.focus_next", "Down", show=False),
    ]
    DEFAULT_CSS = """
    Form {
        #box { padding: 0 1; }
        #form { height: auto; max-height: 100%; scrollbar-size-vertical: 1; }
        .field { height: 1; }
        Input { border: none; height: 1; width: 1fr; padding: 0 1; background: $surface; }
        Input:focus { background: $surface-lighten-1; }
        .title { color: $primary; text-style: bold; }
        #remark { height: auto; display: none; }
        #remark.-error { color: $text-error; }
    }
    """

    box = query_one("#box", Vertical)
    form = query_one("#form", VerticalScroll)
    remark = query_one("#remark", Static)

    def __init__(self, title: str, fields: Sequence[FormField]) -> None:
        super().__init__()
        self._title = title
        self._fields = fields

    def compose(self) -> ComposeResult:
        """Create the fields, between the widgets that a subclass adds above and below."""
        width = min(_WIDEST, max(len(one_line(field.title)) for field in self._fields)) + 2
        with Vertical(id="box", classes="framed") as box:
            box.border_title = one_line(self._title)
            with VerticalScroll(id="form", can_focus=False):
                yield from self.above()
                for field in self._fields:
                    with Horizontal(classes="field"):
                        title = Static(one_line(field.title), classes="title", markup=False)
                        title.styles.width = width
                        yield title
                        yield LineField(placeholder=field.hint, compact=True)
            yield Static(id="remark", markup=False)
            yield from self.below()

    def above(self) -> Iterator[Widget]:
        yield from ()

    def below(self) -> Iterator[Widget]:
        yield from ()

    @property
    def values(self) -> dict[str, str]:
        """The texts in the fields, by the names of the fields."""
        return {
            field.name: line.value for field, line in zip(self._fields, self.query(LineField), strict=True)
        }

    @on(Input.Submitted)
    def _submitted(self) -> None:
        self.action_submit()

    @abstractmethod
    def action_submit(self) -> None:
        """Called when the user submits the fields."""

    def say(self, text: str, *, error: bool = False) -> None:
        """Show a text below the fields. An empty text hides the line."""
        if not self.leaving and self.is_attached:
            self.remark.set_class(error, "-error")
            self.remark.display = bool(text)
            self.remark.update(visible(text))

    def show_keys(self, keys: Sequence[tuple[str, str]]) -> None:
        """Show the keys and their effects at the lower edge."""
        self.box.border_subtitle = hints(keys)
