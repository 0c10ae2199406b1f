"""The form for the values of a template's variables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from paragone import InputError
from paragone_tui.widgets.form import Form, FormField


class VariablesForm(Form[str | None]):
    """A field for each variable of a template. The result of the form is the prompt, or None if the user cancelled."""

    AUTO_FOCUS = "Input"

    def __init__(self, template: str, names: Sequence[str], fill: Callable[[Mapping[str, str]], str]) -> None:
        """Create the form for the template with the name `template` and the variables `names`.

        `fill` fills the variables' values into the template, and returns the prompt, or raises InputError for a missing value.
        """
        super().__init__(template, [FormField(name, name) for name in names])
        self._fill = fill

    def on_mount(self) -> None:
        """Show the keys at the lower edge."""
        self.show_keys([("enter", "into the prompt"), ("esc", "cancel")])

    def action_submit(self) -> None:
        """Close the form with the prompt, or show which value is missing."""
        try:
            self.dismiss(self._fill({name: value for name, value in self.values.items() if value}))
        except InputError as error:
            self.say(str(error), error=True)
