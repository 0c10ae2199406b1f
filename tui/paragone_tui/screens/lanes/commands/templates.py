"""The command that fills the composer from a template."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

from paragone import InputError
from paragone_tui.screens.lanes.commands.prompts import replace_prompt

if TYPE_CHECKING:
    from paragone_tui.screens.lanes.commands.context import LanesContext


def insert_template(context: LanesContext) -> None:
    """Let the user pick a template and enter its values, or save the text in the composer as a template.

    The text in the composer becomes the variable `prompt` of the picked template.
    """
    from paragone_tui.screens.templates.template_picker import TemplatePicker

    context.show(TemplatePicker(context.engines, context.composer.prompt), partial(_fill_in, context))


def _fill_in(context: LanesContext, name: str) -> None:
    """Ask for the values of a template's variables, and write the filled template into the composer."""
    from paragone_tui.screens.templates.variables_form import VariablesForm
    from paragone_workbench.config.templates import PROMPT, fill_template
    from paragone_workbench.conversation.variables import names_in

    template, composer = context.engines.config.templates[name], context.composer
    try:
        names = names_in(template)
    except InputError as error:
        context.say(str(error), warning=True)
        return
    written = {PROMPT: composer.text} if PROMPT in names and composer.text.strip() else {}

    def fill(values: Mapping[str, str]) -> str:
        return fill_template(name, template, {**written, **values})

    asked = [variable for variable in names if variable not in written]
    if asked:
        context.show(VariablesForm(name, asked, fill), partial(replace_prompt, context))
    else:
        replace_prompt(context, fill({}))
