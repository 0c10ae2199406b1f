"""Read JSON of other programs, where a value can be missing or have another type, and the option `json_schema`."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import TypeAlias

from paragone import errors, files, wire

JsonObject: TypeAlias = Mapping[str, wire.Json]

_OBJECT, _LIST = (dict, Mapping), (list, Sequence)
"""Types of objects and lists. Python's own types come first: `isinstance` is slower for abstract classes, and these
checks run for each token from a server."""
_LARGEST = 2**53
"""Largest count. Larger counts are implausible, and many JSON parsers lose the last digits of such numbers."""
_LONGEST_S = 1e9
"""Longest plausible duration in seconds: about 30 years."""


def value_at(data: wire.Json, *path: str) -> wire.Json:
    """Return the value at a path; None without a value."""
    for name in path:
        data = data.get(name) if isinstance(data, _OBJECT) else None
    return data


def text_at(data: wire.Json, *path: str) -> str:
    """Return the text at a path; an empty text for any other value."""
    found = value_at(data, *path)
    return found if isinstance(found, str) else ""


def texts_at(data: wire.Json, *path: str) -> tuple[str, ...]:
    """Return the texts in the list at a path."""
    return tuple(item for item in list_at(data, *path) if isinstance(item, str))


def flag_at(data: wire.Json, *path: str) -> bool | None:
    """Return the boolean at a path; None for any other value."""
    found = value_at(data, *path)
    return found if isinstance(found, bool) else None


def number_at(data: wire.Json, *path: str) -> float | None:
    """Return the finite number at a path; None for any other value, such as NaN and infinity, which Python's parser accepts."""
    found = value_at(data, *path)
    if not isinstance(found, int | float) or isinstance(found, bool):
        return None
    try:
        number = float(found)
    except OverflowError:  # a whole number in JSON may have any length
        return None
    return number if math.isfinite(number) else None


def duration_at(data: wire.Json, *path: str, unit: float) -> float | None:
    """Return the duration at a path in seconds, rounded to nanoseconds; None for any implausible value.

    `unit` is the unit of the value in seconds.
    """
    found = number_at(data, *path)
    if found is None or not 0 <= found * unit <= _LONGEST_S:
        return None
    return round(found * unit, 9)


def count_at(data: wire.Json, *path: str) -> int | None:
    """Return the whole number at a path, from 0 to 2⁵³; None for any other value."""
    found = value_at(data, *path)
    if not isinstance(found, int) or isinstance(found, bool) or not 0 <= found <= _LARGEST:
        return None
    return found


def object_at(data: wire.Json, *path: str) -> JsonObject:
    """Return the object at a path; an empty object for any other value."""
    found = value_at(data, *path)
    return found if isinstance(found, _OBJECT) else {}


def list_at(data: wire.Json, *path: str) -> Sequence[wire.Json]:
    """Return the list at a path; an empty list for any other value."""
    found = value_at(data, *path)
    return found if isinstance(found, _LIST) and not isinstance(found, str) else ()


def objects_at(data: wire.Json, *path: str) -> list[JsonObject]:
    """Return the objects in the list at a path."""
    return [item for item in list_at(data, *path) if isinstance(item, _OBJECT)]


_LONGEST = 1 << 20
"""Largest number of characters of a schema. Engines compile the whole schema before they answer."""


def read_schema(value: str) -> dict[str, wire.Json]:
    """Return the schema that the option's value contains, or, for `@PATH`, that the file contains.

    Raises InputError if it is not a JSON object. The engine that compiles the schema checks the rest.
    """
    text = files.option_text(value, "json_schema")
    if len(text) > _LONGEST:
        raise errors.InputError(
            f"The JSON schema is {len(text):,} characters long.",
            hint="A schema may have at most a million characters.",
        )
    try:
        schema: wire.Json = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise errors.InputError(
            f"The option 'json_schema' is not JSON: {error}.",
            hint="Write the JSON itself, or @PATH of a file.",
        ) from error
    if not isinstance(schema, dict):
        raise errors.InputError(
            "The option 'json_schema' is not a JSON object.",
            hint='A schema looks like {"type": "object", "properties": {"name": {"type": "string"}}}.',
        )
    return schema


def check_inline_schema(value: str | None) -> None:
    """Check a schema that is written in the option's value; ignore a file. Raises InputError."""
    if value is not None and not value.startswith("@"):
        read_schema(value)
