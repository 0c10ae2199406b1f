"""The sampling parameters in a model's Modelfile, from `/api/show`."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from paragone import Json

__all__ = ["modelfile_parameters"]

_NAMES = {
    "num_predict": "max_tokens",
    **{
        name: name
        for name in (
            "temperature",
            "top_k",
            "top_p",
            "min_p",
            "repeat_penalty",
            "repeat_last_n",
            "presence_penalty",
            "frequency_penalty",
            "seed",
        )
    },
}
"""The names of our options, by Ollama's names."""

_WHOLE = {"max_tokens", "top_k", "repeat_last_n", "seed"}
_LONGEST = 32
"""Largest number of characters of a plausible number."""


def modelfile_parameters(told: str) -> dict[str, Json]:
    """Return the values of our sampling options that are set there, by option name.

    Each line has a name and a value in Go's syntax; `stop` has one line per sequence.
    """
    stops: list[Json] = []
    found: dict[str, Json] = {"stop": stops}
    for name, value in _lines(told):
        if name == "stop":
            stops.append(value)
        elif name in _NAMES and isinstance(value, int | float):
            option = _NAMES[name]
            found[option] = int(value) if option in _WHOLE else float(value)
    if isinstance(limit := found.get("max_tokens"), int) and limit < 1:
        found["max_tokens"] = None  # -1: without a limit, -2: to the end of the context
    if isinstance(seed := found.get("seed"), int) and seed < 0:
        del found["seed"]  # it draws a new one each time
    return found


def _lines(told: str) -> Iterator[tuple[str, str | float]]:
    for line in told.splitlines():
        name, _, value = line.strip().partition(" ")
        value = value.strip()
        if value.startswith('"'):
            yield name, _unquoted(value)
        elif len(value) <= _LONGEST:
            try:
                number = float(value)
            except ValueError:
                continue
            if abs(number) < 2**53:  # excludes infinity and NaN
                yield name, number


def _unquoted(value: str) -> str:
    """Return the value of a quoted Go string. Python literals have the same escapes."""
    try:
        found: object = ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value
    return found if isinstance(found, str) else value
