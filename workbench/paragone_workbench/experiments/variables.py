"""Fills variables into prompts: `{{ name }}`, in Jinja's syntax."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from paragone import InputError, Json

if TYPE_CHECKING:
    from jinja2 import Environment

__all__ = ["fill"]

TEMPLATES_KEPT = 256


def fill(text: str, variables: Mapping[str, Json]) -> str:
    """Return the text with the values of its variables. Raises InputError if one has no value, or for bad syntax."""
    return text if "{" not in text else _renderer(text)(variables)


@functools.lru_cache(maxsize=TEMPLATES_KEPT)
def _renderer(text: str) -> Callable[[Mapping[str, Json]], str]:
    environment = _environment()
    import jinja2

    try:
        template = environment.from_string(text)
    except (jinja2.TemplateSyntaxError, RecursionError) as error:
        raise InputError(f"A variable in it cannot be read: {error}.", hint="Write {{ name }}.") from error

    def render(variables: Mapping[str, Json]) -> str:
        try:
            return template.render(variables)
        except jinja2.UndefinedError as error:
            names = ", ".join(variables)
            raise InputError(f"A variable has no value: {error}.", hint=f"There are: {names}.") from error
        except Exception as error:  # the template is code from the file
            raise InputError(f"Its variables cannot be filled in: {error}.") from error

    return render


@functools.cache
def _environment() -> Environment:
    try:
        import jinja2.sandbox  # not at the top: only suites with variables need it
    except ModuleNotFoundError as error:
        if error.name != "jinja2":
            raise
        raise InputError(
            "Prompts with variables need the package jinja2, which is not installed.",
            hint="Install it with: pip install 'paragone[experiments]'.",
        ) from error
    return jinja2.sandbox.SandboxedEnvironment(
        undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False
    )
