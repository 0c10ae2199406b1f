"""Replace variables in prompts by their values: `{{ name }}`, an expression in Jinja's syntax."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Literal

from paragone import InputError, Json
from paragone.texts import install_command, shortened

if TYPE_CHECKING:
    from jinja2 import Template
    from jinja2.runtime import Context
    from jinja2.sandbox import SandboxedEnvironment


_EXPRESSION = re.compile(r"\{\{.*?\}\}", re.DOTALL)
"""An expression to replace by its value. Everything else is plain text, even Jinja's statements, which could compute
forever."""

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
"""Jinja's filters that an expression can use. A suite may come from a third party, so no filter makes a value much
longer than a variable, or computes with long numbers."""

SYNTAX = (
    "Add", "And", "CondExpr", "Compare", "Const", "Div", "Filter", "FloorDiv", "Getattr", "Getitem", "Keyword", "Name",
    "Neg", "Not", "Operand", "Or", "Output", "Pos", "Slice", "Sub", "Template", "TemplateData", "Test",
)  # fmt: skip
"""Jinja's syntax that an expression can use: the classes of `jinja2.nodes`."""

LONGEST_EXPRESSION = 1_000
"""Largest number of characters of an expression."""

MOST_EXPRESSIONS = 200
"""Largest number of different expressions in a template. Parsing each expression takes a quarter of a millisecond."""

LONGEST_TEXT = 2**24
"""Largest number of characters of a text with the values of its variables: more than the largest context holds."""

_MOST_DIGITS = 300
"""Largest number of digits that `int` and `round` compute with."""


def fill(text: str, variables: Mapping[str, Json]) -> str:
    """Return the text with the values of its variables. Raises InputError for a missing value, bad syntax, or a
    result that is too long."""
    pieces: list[str] = []
    length = 0
    for piece in _filled(text, variables):
        length += len(piece)
        if length > LONGEST_TEXT:
            raise InputError(
                f"The text with its variables filled in is longer than {LONGEST_TEXT:,} characters."
            )
        pieces.append(piece)
    return "".join(pieces)


def names_in(text: str) -> list[str]:
    """Return the names of a text's variables in order. Raises InputError for bad syntax or more than `MOST_EXPRESSIONS`."""
    expressions = dict.fromkeys(_EXPRESSION.findall(text, 0, text.rfind("}}") + 2))
    if len(expressions) > MOST_EXPRESSIONS:
        raise InputError(f"The text has more than {MOST_EXPRESSIONS} variables.", hint="Divide the text.")
    return list(dict.fromkeys(name for expression in expressions for name in _parsed(expression)[1]))


def _filled(text: str, variables: Mapping[str, Json]) -> Iterator[str]:
    """Yield the parts of the text between the expressions, and the values of the expressions, in their order."""
    at = 0
    # The search ends at the last `}}`. Otherwise each later `{{` would search the rest of the text for nothing.
    for found in _EXPRESSION.finditer(text, 0, text.rfind("}}") + 2):
        yield text[at : found.start()]
        yield _value(found[0], variables)
        at = found.end()
    yield text[at:]


def _value(expression: str, variables: Mapping[str, Json]) -> str:
    shown = shortened(expression, 100)
    template, _ = _parsed(expression)
    from jinja2 import UndefinedError  # imported after `_parsed`, which reports if jinja2 is missing

    try:
        return template.render(variables)
    except UndefinedError as error:
        raise InputError(
            f"{shown} has no value: {error}.", hint=f"There are: {', '.join(variables)}."
        ) from error
    except Exception as error:  # an expression's filters can raise any error
        raise InputError(f"{shown} has no value: {type(error).__name__}: {error}.") from error


@functools.lru_cache(maxsize=1024)  # thousands of prompts usually have the same expressions
def _parsed(expression: str) -> tuple[Template, tuple[str, ...]]:
    """Return a parsed expression, and the names of the variables in it. Raises InputError for a long expression, and for wrong
    or forbidden syntax."""
    if len(expression) > LONGEST_EXPRESSION:
        raise InputError(f"{shortened(expression, 100)} is longer than {LONGEST_EXPRESSION:,} characters.")
    environment = _environment()
    from jinja2 import TemplateError  # imported after `_environment`, which reports if jinja2 is missing
    from jinja2.nodes import Name, Node

    try:
        tree = environment.parse(expression)
        for node in tree.find_all(Node):
            if type(node).__name__ not in SYNTAX:
                raise TemplateError(
                    f"Jinja's {getattr(node, 'operator', type(node).__name__)} is not allowed"
                )
        names = tuple(node.name for node in tree.find_all(Name))
        return environment.from_string(tree), names
    except (TemplateError, RecursionError) as error:
        raise InputError(
            f"{shortened(expression, 100)} cannot be read: {str(error).rstrip('.')}.",
            hint="Write {{ name }}, or {{ '{{' }} for two braces.",
        ) from error


@functools.cache
def _environment() -> SandboxedEnvironment:
    try:
        from jinja2 import StrictUndefined  # imported here, because only suites with variables need jinja2
        from jinja2.exceptions import SecurityError
        from jinja2.sandbox import SandboxedEnvironment
    except ModuleNotFoundError as error:
        if error.name != "jinja2":
            raise
        raise InputError(
            "Prompts with variables need the package jinja2, which is not installed.",
            hint=f"Install it with: {install_command('experiments')}",
        ) from error

    class NumbersOnly(SandboxedEnvironment):
        intercepted_binops = frozenset({"+"})

        def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
            if isinstance(left, str | list) and isinstance(right, str | list):
                raise SecurityError("+ adds numbers only")
            return super().call_binop(context, operator, left, right)

    environment = NumbersOnly(undefined=StrictUndefined, autoescape=False)
    environment.globals.clear()
    environment.filters = {name: environment.filters[name] for name in FILTERS}
    environment.filters |= {"int": _int, "round": _round}
    return environment


def _int(value: object, default: int = 0) -> int:
    """Return a value as a whole number. Raises ValueError for a text of more than `_MOST_DIGITS` characters."""
    from jinja2.filters import do_int

    if isinstance(value, str) and len(value) > _MOST_DIGITS:
        raise ValueError("the text is too long for a number")
    return do_int(value, default)


def _round(value: float, precision: int = 0, method: Literal["common", "ceil", "floor"] = "common") -> float:
    """Return a rounded number. Raises ValueError for a precision of more than `_MOST_DIGITS` digits."""
    from jinja2.filters import do_round

    if abs(precision) > _MOST_DIGITS:
        raise ValueError(f"it rounds to at most {_MOST_DIGITS} digits")
    return do_round(value, precision, method)
