"""Read and check the value of the option `json_schema`: the JSON schema that an answer must follow."""

from __future__ import annotations

import json
from collections.abc import Iterator

from paragone.errors import InputError
from paragone.regular_file import option_text
from paragone.wire import Json

__all__ = ["check_inline_schema", "read_schema"]

_LONGEST = 1 << 20
"""Largest number of characters of a schema. Engines compile the whole schema before they answer."""

_TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")

_SCHEMA = (
    "additionalProperties", "contains", "else", "if", "items", "not", "propertyNames", "then",
    "unevaluatedItems", "unevaluatedProperties",
)  # fmt: skip
"""Keywords whose value is a schema."""

_LIST = ("allOf", "anyOf", "oneOf", "prefixItems")
"""Keywords whose value is a list of schemas."""

_TABLE = ("$defs", "definitions", "dependentSchemas", "patternProperties", "properties")
"""Keywords whose value has a schema for each name."""


def read_schema(value: str) -> dict[str, Json]:
    """Return the schema that the option's value contains, or, for `@PATH`, that the file contains.

    Raises InputError if the text is not JSON, or the JSON cannot be a schema.
    """
    return _parsed(option_text(value, "json_schema"))


def check_inline_schema(value: str | None) -> None:
    """Check a schema that is written in the option's value; ignore a file. Raises InputError."""
    if value is not None and not value.startswith("@"):
        _parsed(value)


def _parsed(text: str) -> dict[str, Json]:
    if len(text) > _LONGEST:
        raise InputError(
            f"The JSON schema is {len(text):,} characters long.",
            hint="A schema may have at most a million characters.",
        )
    try:
        schema: Json = json.loads(text)
        if not isinstance(schema, dict):
            raise InputError(
                "The option 'json_schema' is not a JSON object.",
                hint='A schema looks like {"type": "object", "properties": {"name": {"type": "string"}}}.',
            )
        fault = next(_faults(schema, ""), "")
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"The option 'json_schema' is not JSON: {error}.",
            hint="Write the JSON itself, or @PATH of a file.",
        ) from error
    if fault:
        raise InputError(f"The option 'json_schema' is not a JSON schema: {fault}.")
    return schema


def _faults(schema: Json, path: str) -> Iterator[str]:
    """Yield the faults of a JSON schema: types that do not exist, and values of the wrong kind."""
    if isinstance(schema, bool):  # every value matches the schema `true`, and no value matches `false`
        return
    if not isinstance(schema, dict):
        yield f"{path or 'it'} must be an object"
        return
    types = schema.get("type")
    for kind in types if isinstance(types, list) else [] if types is None else [types]:
        if kind not in _TYPES:
            yield f"there is no type {_shown(kind)} ({_join(path, 'type')}); the types are {', '.join(_TYPES)}"
    required = schema.get("required", [])
    if not (isinstance(required, list) and all(isinstance(name, str) for name in required)):
        yield f"{_join(path, 'required')} must be a list of names"
    for keyword, value in schema.items():
        place = _join(path, keyword)
        if keyword in _TABLE:
            if isinstance(value, dict):
                for name, part in value.items():
                    yield from _faults(part, _join(place, name))
            else:
                yield f"{place} must be an object"
        elif keyword in _LIST or (keyword == "items" and isinstance(value, list)):
            if isinstance(value, list):
                for index, part in enumerate(value):
                    yield from _faults(part, _join(place, str(index)))
            else:
                yield f"{place} must be a list"
        elif keyword in _SCHEMA:
            yield from _faults(value, place)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}"[:80] if path else name[:80]


def _shown(value: Json) -> str:
    return json.dumps(value, ensure_ascii=False)[:40]
