"""The form for the values of a template's variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.getters import query_one
from textual.widgets import Input, Static

from paragone import InputError
from paragone_tui.terminal.text import one_line, visible
from paragone_tui.widgets.hints import hints
from paragone_tui.widgets.line_field import LineField
from paragone_tui.widgets.modal import Modal


class VariablesForm(Modal[str | None]):
    """A field for each variable of a template. Its result is the prompt, or None if the user cancelled."""

    AUTO_FOCUS = "Input"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "app.focus_previous", "Up", show=False),
        Binding("down", "app.focus_next", "Down", show=False),
    ]
    DEFAULT_CSS = """
    VariablesForm {
        align: center middle;
        #variables {
            width: 84; max-width: 100%; height: auto; max-height: 100%;
            border: round $primary; background: $surface; padding: 0 1;
        }
        Input { border: none; height: 1; padding: 0 1; background: $surface; }
        Input:focus { background: $surface-lighten-1; }
        .name { height: 1; color: $primary; text-style: bold; }
        #error { height: auto; color: $text-error; display: none; }
    }
    """

    error = query_one("#error", Static)

    def __init__(self, template: str, names: Sequence[str], fill: Callable[[Mapping[str, str]], str]) -> None:
        """Create the form for the template of this name, and its variables.

        `fill` returns the prompt for the values of the variables. It raises InputError if one is missing.
        """
        super().__init__()
        self._template = template
        self._names = names
        self._fill = fill

    def compose(self) -> ComposeResult:
        """Create the fields, and a line for what is wrong."""
        with Vertical(id="variables") as box:
            box.border_title = one_line(self._template)
            box.border_subtitle = hints([("enter", "into the prompt"), ("esc", "cancel")])
            for name in self._names:
                yield Static(one_line(name), classes="name", markup=False)
                yield LineField(compact=True)
            yield Static(id="error", markup=False)

    @on(Input.Submitted)
    def _apply(self) -> None:
        """Close the form with the prompt, or say which value is missing."""
        given = zip(self._names, (field.value for field in self.query(LineField)), strict=True)
        try:
            self.dismiss(self._fill({name: value for name, value in given if value}))
        except InputError as error:
            self.error.update(visible(str(error)))
            self.error.display = True
