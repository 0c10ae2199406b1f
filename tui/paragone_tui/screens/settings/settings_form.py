"""The settings form: the options of a lane's engine, and the system prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar

from textual import events, on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.events import DescendantBlur, DescendantFocus
from textual.getters import query_one
from textual.widgets import Input, Static

from paragone import InputError, ParagoneError
from paragone.options import value_text
from paragone_tui.screens.settings.fields import (
    LabelledField,
    NameField,
    PresetField,
    SettingField,
    SystemField,
)
from paragone_tui.screens.settings.preset_picker import PresetPicker
from paragone_tui.terminal.text import one_line, visible
from paragone_tui.widgets.modal import Modal
from paragone_workbench.config.presets import Preset, find_preset
from paragone_workbench.lanes.settings import Setting

_PRESET = (
    "Name of a preset; enter lists them. Once you leave this field, its values are in the fields below. "
    "^x removes a preset that was saved here."
)
_SAVE_PRESET = (
    "A name for the system prompt and the sampling options, to choose here and with --preset. "
    "config.toml does not change."
)
_SAVE_ENGINE = (
    "A name, to find the engine in the engine picker and to use it on the command line. "
    "config.toml does not change."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingsChange:
    """The changes that the user made in the form."""

    edits: Mapping[str, str]
    """The new text of each edited option, by the option's name; empty for the default."""
    system: str | None
    """The new system prompt; None if the user has not edited the system prompt."""
    save_as: str
    """The name under which to save the engine of the current lane; empty to save nothing."""
    save_preset: str
    """The name under which to save the system prompt and the sampling options; empty to save nothing."""
    all_lanes: bool
    """Whether the options change in all lanes, or only in the current lane."""

    @property
    def is_empty(self) -> bool:
        """Whether there is no change."""
        return not self.edits and self.system is None and not self.save_as and not self.save_preset


_LOW = 12
"""Least height in rows of a terminal in which the form shows the description of a field."""
_NARROW = 50
"""Least width in cells of a terminal in which the form shows whole names and the origins of values."""


class FieldList(VerticalScroll, inherit_bindings=False):
    """The scrollable fields. Up and down move the focus, since the bindings of `VerticalScroll` are not inherited."""


class SettingsForm(Modal[SettingsChange | None]):
    """A form for the settings of one lane or of all lanes. The result of the form is None if the user cancelled."""

    AUTO_FOCUS = "SettingField Input"
    BINDINGS: ClassVar[list[BindingType]] = [
        ("escape,ctrl+c", "cancel", "Cancel"),
        ("enter", "apply", "Apply"),
        ("ctrl+t", "toggle_target", "This lane or all lanes"),
        Binding("up,shift+tab", "move(-1)", "Up", show=False),
        Binding("down,tab", "move(1)", "Down", show=False),
    ]
    DEFAULT_CSS = """
    SettingsForm {
        #form { width: 84; height: 100%; max-height: 44; }
        #fields { height: 1fr; scrollbar-size-vertical: 1; }
        .group { height: 1; padding: 0 1; color: $primary; text-style: bold; }
        #description { height: auto; min-height: 3; max-height: 6; padding: 0 1; color: $text-muted; border-top: solid $surface-lighten-2; }
        #description.-error { color: $text-error; }
        #hints { height: 1; padding: 0 1; color: $text-muted; }
        &.-low { #description, #hints { display: none; } }
        &.-narrow .name { width: 10; }
        &.-narrow SettingField Input { margin: 0 0 0 10; }
    }
    """

    form = query_one("#form", Vertical)
    description = query_one("#description", Static)
    hints = query_one("#hints", Static)
    system = query_one(SystemField)
    preset = query_one("#preset", PresetField)
    """The field for a preset, which exists only if there are presets."""
    save_preset = query_one("#save-preset", NameField)
    save_as = query_one("#save-as", NameField)

    def __init__(
        self,
        lane: str,
        settings: Sequence[Setting],
        system: str,
        *,
        presets: Mapping[str, Preset],
        remove_preset: Callable[[str], None],
        several_lanes: bool,
        check: Callable[[Mapping[str, str], bool], None],
    ) -> None:
        """Create the form for a lane with this name and these settings.

        `check` gets the edits, and whether the edits are for all lanes. `check` raises InputError if a value is invalid.
        `remove_preset` removes a preset, or raises ParagoneError.
        """
        super().__init__()
        self._lane = lane
        self._option_fields = [SettingField(setting) for setting in settings]
        self._system = system
        self._presets = dict(presets)
        self._remove_preset = remove_preset
        self._applied = ""
        """The name of the preset whose values were filled into the fields."""
        self._several_lanes = several_lanes
        self._check = check
        self._all_lanes = False
        self._to_drop: SettingsChange | None = None
        """The changes at the last press of a key that closes the form. The next press drops these changes."""

    def compose(self) -> ComposeResult:
        """Create the fields, the description of the focused field, and a line of key hints."""
        with Vertical(id="form", classes="framed"):
            with FieldList(id="fields", can_focus=False):
                if self._presets:
                    yield LabelledField(
                        "use a preset", PresetField(_PRESET, id="preset", names=[*self._presets])
                    )
                yield LabelledField("save as a preset", NameField(_SAVE_PRESET, id="save-preset"))
                yield LabelledField("system prompt", SystemField(self._system))
                for reloads, fields in groupby(self._option_fields, key=lambda field: field.setting.reloads):
                    when = "Model · a change reloads it" if reloads else "Sampling · from the next answer on"
                    yield Static(when, classes="group")
                    yield from fields
                yield Static("This lane's engine with its options", classes="group")
                yield LabelledField("save the engine", NameField(_SAVE_ENGINE, id="save-as"))
            yield Static(id="description", markup=False)
            yield Static(id="hints", markup=False)

    def on_mount(self) -> None:
        """Show which lanes the changes are for, and the key hints."""
        self._show_target()

    def on_resize(self, event: events.Resize) -> None:
        """In a small terminal, hide the description, the key hints, and the origins of values."""
        self.set_class(event.size.height < _LOW, "-low")
        self.set_class(event.size.width < _NARROW, "-narrow")
        if self.focused is not None:
            self.call_after_refresh(self.focused.scroll_visible, animate=False)

    @on(DescendantFocus)
    def _show_description(self) -> None:
        names = self.query(NameField)
        fields: list[SystemField | SettingField | NameField] = [self.system, *self._option_fields, *names]
        for field in fields:
            if field.has_focus_within:
                self._describe(field.description)

    @on(Input.Changed)
    def _show_target(self) -> None:
        whom = "all lanes" if self._all_lanes else one_line(self._lane)
        self.form.border_title = f"Settings of {whom}"
        effect = " and reload the model" if self._reloads() else ""
        target = "  ^t this lane or all" if self._several_lanes else ""
        self.hints.update(f"enter apply{effect}{target}  esc cancel  empty = default", layout=False)

    @on(Input.Submitted)
    def action_apply(self) -> None:
        """Close the form with the changes if the values are valid. In the empty field for a preset, list the presets."""
        if self._presets and self.preset.has_focus and not self.preset.value.strip():
            self.app.push_screen(PresetPicker(self._presets), self._use_preset)
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
        """Move to the next field (1) or the previous field (-1), but not past the first or the last field."""
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
                "What you edited is not applied: enter applies it, esc again drops it.", is_error=True
            )

    @on(DescendantBlur, "#preset")
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
            preset = find_preset(name, self._presets)
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

    def action_remove_preset(self) -> None:
        """Remove the preset that the field names, if that preset was saved on the screen."""
        name = self.preset.value.strip()
        try:
            self._remove_preset(name)
        except ParagoneError as error:
            self._describe(str(error), is_error=True)
            return
        del self._presets[name]
        self.preset.value = ""
        self._describe(f"The preset {name} is removed.")

    def action_toggle_target(self) -> None:
        """Switch between changes in the current lane and in all lanes."""
        if self._several_lanes:
            self._all_lanes = not self._all_lanes
            self._show_target()

    def _edited(self) -> Iterator[tuple[SettingField, str]]:
        return ((field, field.new_text) for field in self._option_fields if field.new_text is not None)

    def _reloads(self) -> bool:
        return any(field.setting.reloads for field, _ in self._edited())

    def _describe(self, text: str, *, is_error: bool = False) -> None:
        self.description.set_class(is_error, "-error")
        self.description.update(visible(text))
