"""The fields of the settings form: for options, for the system prompt, and for names of presets and engines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.content import Content
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Static

from paragone.options import value_text
from paragone_tui.terminal.text import one_line, visible
from paragone_tui.widgets.line_field import LineField
from paragone_tui.widgets.text_field import TextField
from paragone_workbench.lanes.settings import Setting


class SettingField(Widget):
    """A line with an option's name, its value, and the origin of the value. An empty value means the default.

    The widget paints the name and the origin beside its field. The form has many such lines, so each has few widgets.
    """

    DEFAULT_CSS = """
    SettingField {
        height: 1; color: $text-muted;
        & Input { margin: 0 14 0 22; border: none; height: 1; padding: 0 1; background: $surface; }
        & Input:focus { background: $surface-lighten-1; }
    }
    """

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self.setting = setting
        info = setting.info
        choices = info.choices or (("true", "false") if isinstance(info.default, bool) else ())
        self._before = "" if info.secret else value_text(setting.value)
        self.input = LineField(
            self._before,
            placeholder=self._default(),
            password=info.secret,
            suggester=SuggestFromList(choices) if choices else None,
            select_on_focus=True,
            compact=True,
        )
        self._is_edited = False
        """Whether the line shows that the user has edited the field."""

    def compose(self) -> ComposeResult:
        """Create the field."""
        yield self.input

    def render(self) -> Content:
        """Render the name and the origin, with the place of the field between them."""
        is_set, room = self.setting.origin != "default", self.input.styles.margin
        name = f"{'•' if is_set else ' '} {self.setting.info.name}"
        if self._is_edited:
            origin = Content.styled("edited", "$text-warning")
        else:
            origin = Content(self.setting.origin if is_set else "")
        start = Content.styled(name, "bold $foreground" if is_set else "")
        start = start.truncate(room.left, pad=True).pad_right(self.size.width - room.width + 1)
        return start + origin if room.right else start

    @property
    def new_text(self) -> str | None:
        """The new text of the option; None if the user has not edited the field."""
        return self.input.value if self.input.value != self._before else None

    @property
    def description(self) -> str:
        """A description of the option: its effect, its type, its default, and its value in the last run."""
        info, setting = self.setting.info, self.setting
        kind = "true or false" if isinstance(info.default, bool) else info.accepted
        parts = [f"Type: {kind}."]
        if default := value_text(info.default):
            parts.append(f"Default: {default}.")
        if setting.in_force is not None:
            parts.append(f"In the last run: {value_text(setting.in_force)}.")
        return visible(f"{info.doc}\n{' '.join(parts)}")

    def on_input_changed(self) -> None:
        """Show whether the user has edited the option."""
        if self._is_edited != (self.new_text is not None):
            self._is_edited = not self._is_edited
            self.refresh()

    def _default(self) -> str:
        setting = self.setting
        if setting.info.secret and setting.value is not None:
            return "set; not shown"
        return one_line(value_text(setting.info.default)) or "not set"


class LabelledField(Horizontal):
    """A field with a label at its left, aligned with the names of the options."""

    DEFAULT_CSS = """
    LabelledField {
        height: auto;
        & .name { width: 22; padding: 0 2; color: $text-muted; }
        & NameField, & SystemField { width: 1fr; }
    }
    """

    def __init__(self, label: str, field: NameField | SystemField) -> None:
        super().__init__()
        self._label = label
        self._field = field

    def compose(self) -> ComposeResult:
        """Create the label and the field."""
        yield Static(self._label, classes="name", markup=False)
        yield self._field


class SystemField(TextField):
    """The field for the system prompt. Enter applies the form; ctrl+j begins a new line.

    Up in the first row moves the focus to the previous field, down in the last row to the next field.
    """

    DEFAULT_CSS = """
    SystemField {
        height: auto; min-height: 1; max-height: 4;
        border: none; padding: 0 1; background: $surface;
        &:focus { border: none; background: $surface-lighten-1; }
        & .text-area--cursor-line { background: $surface-lighten-1; }
    }
    """
    description: ClassVar[str] = (
        "Instructions that all lanes get before the conversation, from the next prompt on.\n"
        "ctrl+j begins a new line."
    )

    def __init__(self, text: str) -> None:
        super().__init__(text, compact=True, highlight_cursor_line=False, placeholder="none")
        self._before = text

    @property
    def new_text(self) -> str | None:
        """The new text; None if the user has not edited the field."""
        return self.text if self.text != self._before else None

    async def on_key(self, event: events.Key) -> None:
        """Apply the form, insert a line break, or move to another field from the first or the last row."""
        place, cursor = self.navigator, self.cursor_location
        match event.key:
            case "enter":
                await self.run_action("screen.apply")
            case "ctrl+j":
                self.insert("\n")
            case "up" if place.is_first_document_line(cursor) and place.is_first_wrapped_line(cursor):
                await self.run_action("screen.move(-1)")
            case "down" if place.is_last_document_line(cursor) and place.is_last_wrapped_line(cursor):
                await self.run_action("screen.move(1)")
            case _:
                return
        event.stop()
        event.prevent_default()


class NameField(LineField):
    """A field for a name: the name of a preset to apply, or a name for a preset or an engine to save."""

    DEFAULT_CSS = """
    NameField { border: none; height: 1; padding: 0 1; background: $surface; }
    NameField:focus { background: $surface-lighten-1; }
    """

    def __init__(self, description: str, *, id: str, names: Sequence[str] = ()) -> None:  # noqa: A002 (Textual's)
        """Create an empty field. `names` are the existing names to choose from; empty if the user writes a new name."""
        super().__init__(
            placeholder=", ".join(names) or "name",
            suggester=SuggestFromList(names) if names else None,
            compact=True,
            id=id,
        )
        self.description = description


class PresetField(NameField):
    """The field for the name of a preset to apply."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+x", "screen.remove_preset", "Remove the preset", show=False)
    ]
