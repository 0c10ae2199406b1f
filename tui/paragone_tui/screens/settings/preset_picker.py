"""The picker of presets for the settings form."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual.content import Content
from textual.widgets.option_list import Option

from paragone.options import value_text
from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.picker import Picker
from paragone_workbench.config.presets import Preset


class PresetPicker(Picker[str | None]):
    """Lists presets. The picker's result is the name of the picked preset, or None."""

    DEFAULT_CSS = "PresetPicker OptionList { text-wrap: nowrap; text-overflow: ellipsis; }"
    heading = "Presets"
    placeholder = "Find a preset"

    def __init__(self, presets: Mapping[str, Preset]) -> None:
        super().__init__()
        self._presets = presets

    def fitting(self, text: str) -> Sequence[Option]:
        """Return the presets whose names contain the text, each with its values and its system prompt."""
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
        """Close the picker with the name of the preset."""
        self.dismiss(option_id)


def _content(preset: Preset) -> str:
    values = " ".join(f"{name}={value_text(value)}" for name, value in preset.sampling.items())
    return one_line(" · ".join(filter(None, (values, preset.system))))
