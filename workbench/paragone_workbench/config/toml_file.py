"""Read TOML files as JSON, and find the line of a key, so that an error can name its position."""

import dataclasses
import datetime
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from paragone import InputError, Json
from paragone.files import read_regular_file

Key: TypeAlias = tuple[str | int, ...]
"""The path to a value: names of tables and keys, and indexes in arrays of tables."""

LARGEST = 2**22
"""Largest size in bytes of a TOML file. Python's parser takes seconds for 1 MiB."""

_DEEPEST = 100
"""Largest number of names and indexes in the path to a value. Parsing takes time that grows with the square of this number."""

_TEXTS = re.compile(
    r"""("{3}(?:\\.|[^\\])*?"{3,5}|'{3}.*?'{3,5})|("(?:\\.|[^"\\\n])*"|'[^'\n]*')|\#[^\n]*""", re.DOTALL
)
"""Strings of several lines, other strings, and comments."""
_NAME = r"""(?:[\w-]+|"[^"\n]*"|'[^'\n]*')"""
_NAMES = rf"{_NAME}(?:[ \t]*\.[ \t]*{_NAME})*"
_STATEMENT = re.compile(
    rf"^[ \t]*(?:(\[\[?)[ \t]*({_NAMES})[ \t]*\]\]?[ \t]*$|({_NAMES})[ \t]*=)", re.MULTILINE
)
"""The brackets and names of a table, or the names of a key."""
_MANY_NAMES = re.compile(rf"(?:\.[^.,=\[\]{{}}\n]*){{{_DEEPEST}}}")


class TextError(InputError):
    def __init__(self, path: Path, line: int, what: str, *, hint: str) -> None:
        super().__init__(f"{path}:{line}: {what}", hint=hint)
        self.path = path
        self.line = line
        """The line at which parsing failed, from 1."""
        self.what = what


@dataclass(frozen=True)
class TomlDocument:
    path: Path
    data: Mapping[str, Json] = field(default_factory=dict)
    text: str = ""

    @cached_property
    def lines(self) -> Mapping[Key, int]:
        """The line of each table, and of each key outside a value, from 1."""
        return _lines(self.text)

    def line(self, *key: str | int) -> int:
        """Return the line of a key, or of the nearest table that would contain the key; 1 if no such table exists."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)

    def where(self, *key: str | int) -> str:
        return f"{self.path}:{self.line(*key)}"


def read_toml(path: Path) -> TomlDocument:
    """Read a TOML file. Raises TextError for invalid TOML, and InputError if the file cannot be read."""
    return parse_toml(path, text_of(path, hint="Name a TOML file.", largest=LARGEST))


def text_of(path: Path, *, hint: str, largest: int) -> str:
    """Return the text of a file in UTF-8. Raises TextError for another encoding, and InputError, with the hint."""
    raw = read_regular_file(path, hint=hint, largest=largest)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # the position in the error counts from the end of the byte order mark
        start = error.start + len(raw) - len(error.object)
        column = start - raw.rfind(b"\n", 0, start)
        what = f"The file is not UTF-8 text: byte 0x{raw[start]:02x} at position {column} of the line."
        line = raw.count(b"\n", 0, start) + 1
        raise TextError(path, line, what, hint="Save it as UTF-8.") from error


def parse_toml(path: Path, text: str) -> TomlDocument:
    """Parse the text of the TOML file `path`. Raises TextError."""
    import tomllib

    if names := _MANY_NAMES.search(_TEXTS.sub(_line_breaks, text)):
        raise _too_deep(path, names.string.count("\n", 0, names.start()) + 1)
    try:
        data = tomllib.loads(text)
    except RecursionError as error:
        raise _too_deep(path, 1) from error
    except ValueError as error:  # not only TOMLDecodeError: Python limits the digits of a number
        message = str(error)
        place = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
        line, column = text.rstrip().count("\n") + 1, ""
        if place and place[1]:
            line, column = int(place[1]), f" at column {place[2]}"
        what = message[: place.start()] if place else message
        hint = "Strings need quotes, and a table begins with [its.name]."
        raise TextError(path, line, f"The file is not valid TOML: {what}{column}.", hint=hint) from error
    document = TomlDocument(path, text=text)
    return dataclasses.replace(document, data={name: _json(data[name], (name,), document) for name in data})


def _too_deep(path: Path, line: int) -> TextError:
    what = f"A value is nested in more than {_DEEPEST} levels."
    return TextError(path, line, what, hint="No setting needs that.")


def _json(value: object, key: Key, document: TomlDocument) -> Json:
    """Return the value of a key as JSON: dates and times become text. Raises TextError for a value that JSON cannot express."""
    if len(key) > _DEEPEST:
        raise _too_deep(document.path, document.line(*key))
    if isinstance(value, dict):
        return {name: _json(inner, (*key, name), document) for name, inner in value.items()}
    if isinstance(value, list):
        return [_json(inner, (*key, index), document) for index, inner in enumerate(value)]
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    assert isinstance(value, bool | int | float | str)
    if isinstance(value, float) and not math.isfinite(value):
        what = f"{value} is not a finite number."
        raise TextError(document.path, document.line(*key), what, hint="")
    return value


def _line_breaks(text: re.Match[str]) -> str:
    return "\n" * text[0].count("\n")


def _lines(text: str) -> dict[Key, int]:
    lines: dict[Key, int] = {}
    arrays: dict[Key, int] = {}  # arrays of tables, with the index of their last element
    table: Key = ()
    plain = _TEXTS.sub(lambda match: match[2] or _line_breaks(match), text)
    line, end = 1, 0
    for match in _STATEMENT.finditer(plain):
        line, end = line + plain.count("\n", end, match.start()), match.start()
        brackets, header, names = match.groups()
        key = () if header else table
        for name in re.findall(_NAME, header or names):
            if header and key in arrays:
                key = (*key, arrays[key])
            key = (*key, name.strip("\"'"))
            lines.setdefault(key, line)
        if brackets == "[[":
            arrays[key] = arrays.get(key, -1) + 1
            key = (*key, arrays[key])
            lines[key] = line
        table = key if header else table
    return lines
