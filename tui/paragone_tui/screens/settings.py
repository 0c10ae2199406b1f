"""The form for the settings of one lane or of all lanes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.getters import query_one
from textual.suggester import SuggestFromList
from textual.widget import Widget
from textual.widgets import Input, Static
from textual.widgets.option_list import Option

from paragone import InputError, ParagoneError
from paragone.options import value_text
from paragone_tui.terminal.text import one_line, visible
from paragone_tui.widgets.fields import LineField, TextField
from paragone_tui.widgets.modal import Modal, set_shown
from paragone_tui.widgets.picker import Picker
from paragone_workbench.config.settings import Preset, find_named
from paragone_workbench.lanes.settings import Setting


class SettingField(Widget):
    """A line with an option's name, its value, and the origin of the value. An empty value means the default. The widget
    paints the name and the origin beside its field. The form has many such lines, so each has few widgets."""

    DEFAULT_CSS = """
    SettingField {
        height: 1; color: $text-muted;
        & Input { margin: 0 14 0 22; border: none; height: 1; padding: 0 1; background: $surface; }
        & Input:focus { background: $surface-lighten-1; }
    }
    """

    def __init__(self, setting: Setting, others: Mapping[str, Mapping[str, str]]) -> None:
        """Create a line. `others` has the values of the options of each other lane, by the lanes' names."""
        super().__init__()
        self.setting = setting
        info = setting.info
        self._others = {lane: values[info.name] for lane, values in others.items() if info.name in values}
        choices = info.choices or (("true", "false") if isinstance(info.default, bool) else ())
        self.takes_words = not choices and "number" not in info.kind
        """Whether the value may be any text, so that `/` belongs to it."""
        self._own = "" if info.secret else value_text(setting.value)
        self._before = self._own
        self._differs = False
        """Whether the field shows all lanes, and they have different values."""
        self.input = LineField(
            self._before,
            placeholder=self._default,
            password=info.secret,
            suggester=SuggestFromList(choices) if choices else None,
            select_on_focus=True,
            compact=True,
        )
        self._is_edited = False

    def compose(self) -> ComposeResult:
        yield self.input

    def render(self) -> Content:
        is_set, room = self._differs or self.setting.origin != "default", self.input.styles.margin
        name = f"{'•' if is_set else ' '} {self.setting.info.name}"
        if self._is_edited:
            origin = Content.styled("edited", "$text-warning")
        else:
            origin = Content("differs" if self._differs else self.setting.origin if is_set else "")
        start = Content.styled(name, "bold $foreground" if is_set else "")
        start = start.truncate(room.left, pad=True).pad_right(self.size.width - room.width + 1)
        return start + origin if room.right else start

    @property
    def new_text(self) -> str | None:
        return self.input.value if self.input.value != self._before else None

    @property
    def description(self) -> str:
        """A description of the option: its effect, its type, its default, and its value in the last run."""
        info, setting = self.setting.info, self.setting
        kind = "true or false" if isinstance(info.default, bool) else info.accepted
        parts = [f"Type: {kind}."]
        if default := value_text(info.default):
            parts.append(f"Default: {default}.")
        if setting.active is not None:
            parts.append(f"In the last run: {value_text(setting.active)}.")
        if self._differs:
            parts.append(f"The lanes keep {self._values} while this field is empty.")
        return visible(f"{info.doc}\n{' '.join(parts)}")

    def has_words(self, words: Sequence[str]) -> bool:
        text = f"{self.setting.info.name} {self.setting.info.doc}".casefold()
        return all(word in text for word in words)

    def show_lanes(self, lane: str, *, all_lanes: bool) -> None:
        """Show the value of the lane or, if the form is for all lanes and they differ, the values of all lanes."""
        edit = self.new_text
        self._differs = all_lanes and any(value != self._own for value in self._others.values())
        values = {lane: self._own, **self._others}
        self._values = ", ".join(f"{value or 'the default'} in {name}" for name, value in values.items())
        self._before = "" if self._differs else self._own
        self.input.placeholder = one_line(self._values) if self._differs else self._default
        if edit is None:
            self.input.value = self._before
        self.refresh()

    def on_input_changed(self) -> None:
        if self._is_edited != (self.new_text is not None):
            self._is_edited = not self._is_edited
            self.refresh()

    @property
    def _default(self) -> str:
        setting = self.setting
        if setting.info.secret and setting.value is not None:
            return "set; not shown"
        return one_line(value_text(setting.info.default)) or "not set"


class SystemField(TextField):
    """The field for the system prompt. Enter applies the form; ctrl+j begins a new line. Up in the first row moves the
    focus to the previous field, down in the last row to the next field."""

    DEFAULT_CSS = """
    SystemField {
        height: auto; min-height: 1; max-height: 4;
        border: none; padding: 0 1; background: $surface;
        &:focus { border: none; background: $surface-lighten-1; }
        & .text-area--cursor-line { background: $surface-lighten-1; }
    }
    """

    def __init__(self, text: str) -> None:
        super().__init__(text, compact=True, highlight_cursor_line=False, placeholder="none", id="system")
        self._before = text

    @property
    def new_text(self) -> str | None:
        return self.text if self.text != self._before else None

    async def on_key(self, event: events.Key) -> None:
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


class PresetPicker(Picker[str | None]):
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+x", "remove", "Remove the preset", priority=True)]
    DEFAULT_CSS = "PresetPicker OptionList { text-wrap: nowrap; text-overflow: ellipsis; }"
    heading = "Presets"
    placeholder = "Find a preset"
    key_hints = (("enter", "pick"), ("^x", "remove"), ("^j ^k", "move"), ("esc", "close"))

    def __init__(self, presets: dict[str, Preset], remove: Callable[[str], None]) -> None:
        """Create the list. `remove` removes a preset, from `presets` too, or raises ParagoneError."""
        super().__init__()
        self._presets = presets
        self._remove = remove

    def fitting(self, text: str) -> Sequence[Option]:
        names = [name for name in self._presets if text.casefold() in name.casefold()]
        self.say("" if names else "No preset has such a name.")
        return [
            Option(
                Content.assemble((one_line(name), "bold"), (f"  {_content(self._presets[name])}", "dim")),
                id=name,
            )
            for name in names
        ]

    def pick(self, option_id: str) -> None:
        self.dismiss(option_id)

    def action_remove(self) -> None:
        name = self.highlighted
        if not name:
            return
        try:
            self._remove(name)
        except ParagoneError as error:
            self.say(str(error))
            return
        del self._presets[name]
        self.show()
        self.say(f"The preset {name} is removed.")


def _content(preset: Preset) -> str:
    values = " ".join(f"{name}={value_text(value)}" for name, value in preset.sampling.items())
    return one_line(" · ".join(filter(None, (values, preset.system))))


_ABOUT = {
    "find": "Words of an option's name or description: only the options with these words are listed.",
    "preset": "Name of a preset; enter lists them, and ^x in the list removes one that was saved here. "
    "Once you leave this field, its values are in the fields below.",
    "save-preset": "A name for the system prompt and the sampling options, to choose here and with --preset. "
    "config.toml does not change.",
    "system": "Instructions that all lanes get before the conversation, from the next prompt on.\n"
    "ctrl+j begins a new line.",
    "save-as": "A name, to find the engine in the engine picker and to use it on the command line. "
    "config.toml does not change.",
}
"""The descriptions of the fields that are not options, by their ids."""


def _row(label: str, field: Widget) -> Horizontal:
    """Return a field with a label at its left, aligned with the names of the options."""
    return Horizontal(Static(label, classes="name", markup=False), field, classes="row")


def _name_field(field_id: str, names: Sequence[str] = ()) -> LineField:
    """Return an empty field. `names` are the existing names to choose from; empty if the user writes a new name."""
    suggester = SuggestFromList(names) if names else None
    return LineField(placeholder=", ".join(names) or "name", suggester=suggester, compact=True, id=field_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsChange:
    edits: Mapping[str, str]
    """The new text of each edited option, by the option's name; empty for the default."""
    system: str | None
    save_as: str
    """The name under which to save the engine of the current lane; empty to save nothing."""
    save_preset: str
    """The name under which to save the system prompt and the sampling options; empty to save nothing."""
    all_lanes: bool
    """Whether the options change in all lanes, or only in the current lane."""

    @property
    def is_empty(self) -> bool:
        return not self.edits and self.system is None and not self.save_as and not self.save_preset


_LOW = 12
"""Smallest height in rows of a terminal in which the form shows the description of a field."""
_NARROW = 50
"""Smallest width in cells of a terminal in which the form shows whole names and the origins of values."""


class SettingsForm(Modal[SettingsChange | None]):
    AUTO_FOCUS = "SettingField Input"
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,ctrl+c", "cancel", "Cancel"),
        ("enter", "apply", "Apply"),
        ("ctrl+t", "toggle_target", "This lane or all lanes"),
        Binding("slash", "find", "Find an option", priority=True),
        Binding("up,shift+tab", "move(-1)", "Up", show=False),
        Binding("down,tab", "move(1)", "Down", show=False),
    ]
    DEFAULT_CSS = """
    SettingsForm {
        #form { width: 84; height: 100%; max-height: 44; }
        #fields { height: 1fr; overflow-y: auto; scrollbar-size-vertical: 1; }
        .group { height: 1; padding: 0 1; color: $primary; text-style: bold; }
        .row { height: auto; }
        .row > .name { width: 22; padding: 0 2; color: $text-muted; }
        .row > Input { border: none; height: 1; padding: 0 1; background: $surface; }
        .row > Input:focus { background: $surface-lighten-1; }
        .row > Input, .row > SystemField { width: 1fr; }
        #description { height: auto; min-height: 3; max-height: 6; padding: 0 1; color: $text-muted; border-top: solid
        $surface-lighten-2; } #description.-error { color: $text-error; }
        #hints { height: 1; padding: 0 1; color: $text-muted; }
        &.-low { #description, #hints { display: none; } }
        &.-narrow .row > .name { width: 10; }
        &.-narrow SettingField Input { margin: 0 0 0 10; }
    }
    """

    form = query_one("#form", Vertical)
    description = query_one("#description", Static)
    hints = query_one("#hints", Static)
    system = query_one(SystemField)
    find = query_one("#find", LineField)
    preset = query_one("#preset", LineField)
    """The field for a preset, which exists only if there are presets."""
    save_preset = query_one("#save-preset", LineField)
    save_as = query_one("#save-as", LineField)

    def __init__(
        self,
        lane: str,
        settings: Sequence[Setting],
        system: str,
        *,
        presets: Mapping[str, Preset],
        remove_preset: Callable[[str], None],
        others: Mapping[str, Mapping[str, str]],
        check: Callable[[Mapping[str, str], bool], None],
    ) -> None:
        """Create the form for a lane with this name and these settings. `others` has the values of each other lane's options.

        `check` gets the edits, and whether the edits are for all lanes. `check` raises InputError if a value is invalid.
        `remove_preset` removes a preset, or raises ParagoneError.
        """
        super().__init__()
        self._lane = lane
        self._option_fields = [SettingField(setting, others) for setting in settings]
        self._system = system
        self._presets = dict(presets)
        self._remove_preset = remove_preset
        self._applied = ""
        """The name of the preset whose values were filled into the fields."""
        self._several_lanes = bool(others)
        self._find_row = _row("find an option", LineField(compact=True, id="find"))
        self._check = check
        self._all_lanes = False
        self._to_drop: SettingsChange | None = None
        """The changes at the last press of a key that closes the form. The next press drops these changes."""

    def compose(self) -> ComposeResult:
        with Vertical(id="form", classes="framed"):
            with Vertical(id="fields"):
                yield self._find_row
                if self._presets:
                    yield _row("use a preset", _name_field("preset", [*self._presets]))
                yield _row("save as a preset", _name_field("save-preset"))
                yield _row("system prompt", SystemField(self._system))
                for reloads, fields in groupby(self._option_fields, key=lambda field: field.setting.reloads):
                    when = "Model · a change reloads it" if reloads else "Sampling · from the next answer on"
                    yield Static(when, classes="group")
                    yield from fields
                yield Static("This lane's engine with its options", classes="group")
                yield _row("save the engine", _name_field("save-as"))
            yield Static(id="description", markup=False)
            yield Static(id="hints", markup=False)

    def on_mount(self) -> None:
        self._find_row.display = False
        self._show_target()

    def on_resize(self, event: events.Resize) -> None:
        """In a small terminal, hide the description, the key hints, and the origins of values."""
        self.set_class(event.size.height < _LOW, "-low")
        self.set_class(event.size.width < _NARROW, "-narrow")
        if self.focused is not None:
            self.call_after_refresh(self.focused.scroll_visible, animate=False)

    @on(events.DescendantFocus)
    def _show_description(self, event: events.DescendantFocus) -> None:
        option = event.widget.parent
        self._describe(
            option.description if isinstance(option, SettingField) else _ABOUT[event.widget.id or ""]
        )

    @on(Input.Changed)
    def _show_target(self) -> None:
        whom = "all lanes" if self._all_lanes else one_line(self._lane)
        self.form.border_title = f"Settings of {whom}"
        effect = " and reload the model" if self._reloads() else ""
        target = "  ^t this lane or all" if self._several_lanes else ""
        self.hints.update(f"enter apply{effect}{target}  esc cancel  / find  empty = default", layout=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool:
        """Leave `/` to a field that takes any text."""
        option = self.focused.parent if self.focused is not None else None
        is_word = not isinstance(option, SettingField) or option.takes_words
        return not (action == "find" and is_word)

    def action_find(self) -> None:
        self._find_row.display = True
        self.set_focus(self.find)  # immediately, because the next key may be text

    @on(Input.Changed, "#find")
    def _list_options(self) -> None:
        """List the options with the words to find, below their headings."""
        words = self.find.value.casefold().split()
        for field in self._option_fields:
            set_shown(field, field.has_words(words))

    @on(Input.Submitted)
    def action_apply(self) -> None:
        """Close the form with the changes if the values are valid. In the empty field for a preset, list the presets; after
        the words to find, go to the first option with these words."""
        if self.find.has_focus:
            if found := next((field for field in self._option_fields if field.display), None):
                found.input.focus()
            return
        if self._presets and self.preset.has_focus and not self.preset.value.strip():
            self.app.push_screen(PresetPicker(self._presets, self._remove_preset), self._use_preset)
            return
        if not self._fill_in():
            return
        change = self._change()
        try:
            self._check(change.edits, change.all_lanes)
        except InputError as error:
            self._describe(str(error), is_error=True)
            return
        self.dismiss(change)

    def _change(self) -> SettingsChange:
        return SettingsChange(
            edits={field.setting.info.name: edit for field, edit in self._edited()},
            system=self.system.new_text,
            save_as=self.save_as.value.strip(),
            save_preset=self.save_preset.value.strip(),
            all_lanes=self._all_lanes,
        )

    def action_move(self, step: int) -> None:
        fields = self.focus_chain
        at = fields.index(self.focused) + step if self.focused in fields else 0
        if 0 <= at < len(fields):
            fields[at].focus()

    def action_cancel(self) -> None:
        """Close the form. If there are changes, show a warning first: a second press of the key drops the changes."""
        change = self._change()
        if (change.is_empty and not self._preset_to_apply) or change == self._to_drop:
            super().action_cancel()
        else:
            self._to_drop = change
            self._describe(
                "Your changes are not applied: enter applies them, esc again drops them.", is_error=True
            )

    @on(events.DescendantBlur, "#preset")
    def _leave_preset(self) -> None:
        # Fill in the values later, since the description of the next field would hide an error.
        self.call_after_refresh(self._fill_in)

    def _use_preset(self, name: str | None) -> None:
        if name is not None:
            self.preset.value = name
            self._fill_in()

    @property
    def _preset_to_apply(self) -> str:
        """The name of the chosen preset until its values are filled into the fields; empty afterwards."""
        name = self.preset.value.strip() if self._presets else ""
        return "" if name == self._applied else name

    def _fill_in(self) -> bool:
        """Fill the values of the chosen preset into the fields, once. Returns False after an error, which the form shows."""
        name = self._preset_to_apply
        if not name:
            return True
        try:
            preset = find_named("preset", name, self._presets)
        except InputError as error:
            self._describe(str(error), is_error=True)
            return False
        self._applied = name
        if preset.system is not None:
            self.system.text = preset.system
        sampling = {
            field.setting.info.name: field for field in self._option_fields if not field.setting.reloads
        }
        for option, value in preset.sampling.items():
            if option in sampling:
                sampling[option].input.value = value_text(value)
        if missing := [option for option in preset.sampling if option not in sampling]:
            self._describe(f"This engine has no sampling option {', '.join(missing)}.", is_error=True)
        return not missing

    def action_toggle_target(self) -> None:
        if self._several_lanes:
            self._all_lanes = not self._all_lanes
            for field in self._option_fields:
                field.show_lanes(self._lane, all_lanes=self._all_lanes)
            self._show_target()

    def _edited(self) -> Iterator[tuple[SettingField, str]]:
        return ((field, field.new_text) for field in self._option_fields if field.new_text is not None)

    def _reloads(self) -> bool:
        return any(field.setting.reloads for field, _ in self._edited())

    def _describe(self, text: str, *, is_error: bool = False) -> None:
        self.description.set_class(is_error, "-error")
        self.description.update(visible(text))
