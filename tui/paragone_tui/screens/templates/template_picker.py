"""The template picker: picks a template for the prompt, or saves the text in the composer as a template."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widgets.option_list import Option

from paragone import ParagoneError
from paragone_tui.terminal.text import one_line
from paragone_tui.widgets.picker import Picker

if TYPE_CHECKING:
    from paragone_tui.engine_list import EngineList

_SAVE = "save"


class TemplatePicker(Picker[str | None]):
    """Lists templates. The picker's result is the name of the picked template, or None."""

    heading = "Template"
    placeholder = "A part of its name, or a name to save what is written in the prompt"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("ctrl+x", "remove", "Remove", priority=True)]

    def __init__(self, engines: EngineList, written: str) -> None:
        """Create the picker. `engines` has the templates, and `written` is the text of the prompt."""
        super().__init__()
        self._engines = engines
        self._written = written
        self._names: list[str] = []

    def fitting(self, text: str) -> Sequence[Option]:
        """Return the templates whose names contain the text, and an option to save the composer's text as a template."""
        templates = self._engines.config.templates
        self._names = [name for name in templates if text.casefold() in name.casefold()]
        options = [
            Option(
                Content.assemble((one_line(name), "bold"), f"  {one_line(templates[name])}"), id=str(number)
            )
            for number, name in enumerate(self._names)
        ]
        if text and text not in templates and self._written.strip():
            saving = Content.assemble(("Save what is written as ", "bold"), one_line(text))
            options.append(Option(saving, id=_SAVE))
        return options

    def pick(self, option_id: str) -> None:
        """Close the picker with the template, or save the composer's text as a template and close."""
        if option_id != _SAVE:
            self.dismiss(self._names[int(option_id)])
            return
        name = self.words.value.strip()
        try:
            self._engines.save_template(name, self._written)
        except ParagoneError as error:
            self.say(str(error))
            return
        self.notify(f"Saved as the template {one_line(name)}.", markup=False)
        self.dismiss(None)

    def action_remove(self) -> None:
        """Remove the highlighted template if it was saved on the screen."""
        name = self._removable
        if name is not None:
            try:
                self._engines.remove_template(name)
            except ParagoneError as error:
                self.say(str(error))
                return
            self.show()

    def describe(self) -> None:
        """Show how to remove the highlighted template, or how to make a template."""
        if self._removable is not None:
            self.say(f"^x removes {one_line(self._removable)}.")
        elif not self._engines.config.templates:
            self.say(
                "There are no templates yet. Write a prompt with {{ name }} in place of a value, then save the prompt here."
            )
        else:
            self.say("" if self.options.option_count else "No template has such a name.")

    @property
    def _removable(self) -> str | None:
        """The name of the highlighted template if the user saved this template on the screen; else None."""
        if self.highlighted in ("", _SAVE):
            return None
        name = self._names[int(self.highlighted)]
        is_saved = self._engines.state.saved.templates.get(name) == self._engines.config.templates[name]
        return name if is_saved else None
