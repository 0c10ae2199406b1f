"""Read data from outside into typed values with msgspec: an error names the path in the data and the expected value."""

import re
from collections.abc import Iterator, Sequence
from typing import TypeVar

import msgspec
from msgspec import inspect

from paragone import InputError
from paragone_workbench.engines.definitions import suggest

T = TypeVar("T")

_WORDS = {
    "str": "text",
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
"""The words in errors for msgspec's names of types."""

_TYPES = re.compile(r"`([a-z| ]+)`")


class DataError(InputError):
    """Data of the wrong form. `path` is the place of the wrong value, such as `messages[0].role`; empty for all data."""

    def __init__(self, path: str, message: str, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.path = path


def read(kind: type[T], data: object, *, whole: str = "It") -> T:
    """Return JSON or TOML data as a value of the type `kind`. `whole` names all data in an error. Raises DataError."""
    try:
        return msgspec.convert(data, kind)
    except msgspec.ValidationError as error:
        raise _explained(kind, str(error), whole) from error
    except (RecursionError, UnicodeEncodeError) as error:
        raise DataError(
            "", f"{whole} is nested too deeply, or has a name with half a surrogate pair."
        ) from error


def _explained(kind: type, message: str, whole: str) -> DataError:
    what, _, place = message.partition(" - at `$")
    path = place.removesuffix("`").removeprefix(".")
    name = re.search(r" field `(.*)`$", what, re.DOTALL)
    if name and what.startswith("Object contains unknown"):
        known = [found.encode_name for found in _declared(kind, path) if isinstance(found, inspect.Field)]
        text = f"{path} has no key {name[1]!r}." if path else f"There is no key {name[1]!r}."
        return DataError(_join(path, name[1]), text, hint=suggest(name[1], known))
    if name:
        return DataError(_join(path, name[1]), f"{_join(path, name[1])} is missing.")
    if what.startswith("Invalid "):
        known = [found for found in _declared(kind, path) if isinstance(found, str)]
        return DataError(path, f"{path} must be {' or '.join([', '.join(known[:-1]), known[-1]])}.")
    if what == "Number out of range":
        what = "Expected a number below 10³⁰⁸"
    expected = _TYPES.sub(_in_words, what.removeprefix("Expected ")).replace(", got", ", not")
    return DataError(path, f"{path or whole} must be {expected}.")


def _in_words(match: re.Match[str]) -> str:
    names = [_WORDS.get(name, name) for name in match[1].split(" | ")]
    return " or ".join(name for name in names if name != "null" or len(names) == 1)


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def _declared(kind: type, path: str) -> Iterator[inspect.Field | str]:
    """Yield the declarations at a path: the fields of an object, or the valid values of a text."""
    yield from _within(inspect.type_info(kind), re.findall(r"[^.\[\]]+", path))


def _within(kind: inspect.Type, names: Sequence[str]) -> Iterator[inspect.Field | str]:
    match kind:
        case inspect.UnionType():
            for one in kind.types:
                yield from _within(one, names)
        case inspect.ListType() | inspect.VarTupleType() if names:
            yield from _within(kind.item_type, names[1:])
        case inspect.StructType() if names:
            if names == [kind.tag_field] and kind.tag is not None:
                yield str(kind.tag)
            for field in kind.fields:
                if field.encode_name == names[0]:
                    yield from _within(field.type, names[1:])
        case inspect.StructType():
            yield from kind.fields
        case inspect.LiteralType():
            yield from map(str, kind.values)
