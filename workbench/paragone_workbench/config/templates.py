"""Templates of prompts: texts with variables, under names."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from paragone import InputError
from paragone_workbench.config.settings import Config, ConfigProblem
from paragone_workbench.conversation.variables import fill, names_in
from paragone_workbench.engines.definitions import suggest

PROMPT = "prompt"
"""The variable of a template that stands for the text of the prompt."""


def find_template(name: str, templates: Mapping[str, str]) -> str:
    """Return the text of the template of this name. Raises InputError."""
    if name in templates:
        return templates[name]
    hint = suggest(name, templates) if templates else "config.toml has no section [templates]."
    raise InputError(f"There is no template {name!r}.", hint=hint)


def fill_template(name: str, text: str, values: Mapping[str, str]) -> str:
    """Return the text of a template with the values of its variables.

    Raises InputError if a variable has no value, if a value has no variable, or for bad syntax.
    """
    names = names_in(text)
    unknown = [key for key in values if key not in names]
    if unknown:
        hint = suggest(unknown[0], names) if names else "It has no variables."
        raise InputError(f"The template {name!r} has no variable {unknown[0]!r}.", hint=hint)
    missing = [key for key in names if key not in values]
    if missing:
        raise InputError(f"The template {name!r} needs a value for: {', '.join(missing)}.")
    return fill(text, values)


def problems(config: Config) -> Iterator[ConfigProblem]:
    named = config.document.data.get("templates")
    for name, text in named.items() if isinstance(named, dict) else ():
        if not isinstance(text, str):
            continue  # the reader of the file reports this problem
        try:
            names_in(text)
        except InputError as error:
            yield ConfigProblem(
                file=config.document.path,
                line=config.document.line("templates", name),
                key=f"templates.{name}",
                sentence=f"The template {name!r} is broken: {error.sentence}",
                hint=error.hint,
            )
