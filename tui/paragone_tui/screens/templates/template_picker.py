"""The template picker: picks a template of config.toml for the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from textual.content import Content
from textual.widgets.option_list import Option

from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.picker import Picker


class TemplatePicker(Picker[str | None]):
    """Its result is the name of a template, or None if none was picked."""

    heading = "Template"
    placeholder = "A part of its name"

    def __init__(self, templates: Mapping[str, str]) -> None:
        super().__init__()
        self._names = list(templates)
        self._templates = templates

    def fitting(self, text: str) -> Sequence[Option]:
        """Return the templates whose names contain the text, each with its own text."""
        found = [
            (number, name) for number, name in enumerate(self._names) if text.casefold() in name.casefold()
        ]
        self.say("" if found else "No template has such a name.")
        return [
            Option(
                Content.assemble((one_line(name), "bold"), f"  {one_line(self._templates[name])}"),
                id=str(number),
            )
            for number, name in found
        ]

    def pick(self, option_id: str) -> None:
        """Close the picker with the template."""
        self.dismiss(self._names[int(option_id)])
