"""Fills variables into prompts: `{{ name }}`, an expression in Jinja's syntax."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, NoReturn

from paragone import InputError, Json
from paragone.installation import install_command

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.sandbox import SandboxedEnvironment


_EXPRESSION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
"""An expression to fill in. Everything else is text, also Jinja's statements, which could compute forever."""

FILTERS = (
    "capitalize",
    "default",
    "first",
    "int",
    "last",
    "length",
    "lower",
    "round",
    "title",
    "trim",
    "upper",
)
"""Jinja's filters that an expression can use. A suite may come from somebody else: what could make a short text
fill the memory (other filters, calls, repetition by `*`) is not allowed."""


def fill(text: str, variables: Mapping[str, Json]) -> str:
    """Return the text with the values of its variables. Raises InputError if one has no value, or for bad syntax."""
    return _EXPRESSION.sub(lambda found: _value(found[0], variables), text)


def _value(expression: str, variables: Mapping[str, Json]) -> str:
    template = _template(expression)
    from jinja2 import UndefinedError  # after `_template`, which says so if jinja2 is missing

    try:
        return template.render(variables)
    except UndefinedError as error:
        raise InputError(
            f"{expression} has no value: {error}.", hint=f"There are: {', '.join(variables)}."
        ) from error
    except Exception as error:  # an expression calls code
        raise InputError(f"{expression} has no value: {type(error).__name__}: {error}.") from error


@functools.lru_cache(maxsize=1024)  # thousands of prompts usually have the same expressions
def _template(expression: str) -> Template:
    environment = _environment()
    from jinja2 import TemplateError

    try:
        return environment.from_string(expression)
    except (TemplateError, RecursionError) as error:
        raise InputError(
            f"{expression} cannot be read: {error}.",
            hint="Write {{ name }}, or {{ '{{' }} for two braces.",
        ) from error


@functools.cache
def _environment() -> SandboxedEnvironment:
    """Return the environment of all expressions. Raises InputError if jinja2 is missing."""
    try:
        from jinja2 import StrictUndefined  # not at the top: only suites with variables need it
        from jinja2.exceptions import SecurityError
        from jinja2.sandbox import SandboxedEnvironment
    except ModuleNotFoundError as error:
        if error.name != "jinja2":
            raise
        raise InputError(
            "Prompts with variables need the package jinja2, which is not installed.",
            hint=f"Install it with: {install_command('experiments')}",
        ) from error

    class Environment(SandboxedEnvironment):
        intercepted_binops = frozenset({"*", "**", "%"})

        def call_binop(self, context: object, operator: str, left: object, right: object) -> NoReturn:
            raise SecurityError(f"the operator {operator} is not allowed")

        def is_safe_callable(self, obj: object) -> bool:
            return False

    environment = Environment(undefined=StrictUndefined, autoescape=False)
    environment.globals.clear()
    environment.filters = {name: environment.filters[name] for name in FILTERS}
    return environment
