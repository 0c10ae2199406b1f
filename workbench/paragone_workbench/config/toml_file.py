"""Read TOML files with the line number of every key, so that an error can name its position."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from paragone import InputError
from paragone.files import read_regular_file

Key: TypeAlias = tuple[str | int, ...]
"""The path to a value: names of tables and keys, and indexes in arrays."""

LARGEST = 2**22
"""Largest size in bytes of a TOML file. Python's parser takes seconds for 1 MiB."""

_DEEPEST = 100
"""Largest number of names and indexes in the path to a value. Parsing takes time that grows with the square of this number."""

_LONGEST = 1000
"""Largest number of characters of a number, and of a name without quotes."""

_NEEDLESS = "No setting needs that."

_TOKEN = re.compile(
    r'''
    (?P<string> """ (?:\\.|[^\\])*? "{3,5} | \'\'\' .*? \'{3,5} | "(?:\\.|[^"\\\n])*" | '[^'\n]*' )
  | (?P<comment> \#[^\n]* )
  | (?P<mark> \n | [\[\]{}=,.] )
  | (?P<bare> [^\s\[\]{}=,."'\#]+ )
    ''',
    re.VERBOSE | re.DOTALL,
)


class TomlError(InputError):
    def __init__(self, path: Path, line: int, what: str, *, hint: str) -> None:
        super().__init__(f"{path}:{line}: {what}", hint=hint)
        self.path = path
        self.line = line
        """The line at which parsing failed, from 1."""
        self.what = what


@dataclass(frozen=True, slots=True)
class TomlDocument:
    path: Path
    data: Mapping[str, object] = field(default_factory=dict)
    lines: Mapping[Key, int] = field(default_factory=dict)
    """Line of each table, of each key outside of a value, and of each element of an array, from 1."""

    def line(self, *key: str | int) -> int:
        """Return the line of a key, or of the nearest table that would contain the key; 1 if no such table exists."""
        while key and key not in self.lines:
            key = key[:-1]
        return self.lines.get(key, 1)

    def where(self, *key: str | int) -> str:
        return f"{self.path}:{self.line(*key)}"


def read_toml(path: Path) -> TomlDocument:
    """Read a TOML file. Raises TomlError for invalid TOML, and InputError if the file cannot be read."""
    raw = read_regular_file(path, hint="Name a TOML file.", largest=LARGEST)
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise TomlError(path, line, "The file is not UTF-8 text.", hint="Save it as UTF-8.") from error
    return parse_toml(path, text)


def parse_toml(path: Path, text: str) -> TomlDocument:
    """Parse the text of the TOML file `path`. Raises TomlError."""
    import tomllib

    statements = list(_statements(path, text))
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
        line, column = text.rstrip().count("\n") + 1, ""
        if place and place[1]:
            line, column = int(place[1]), f" at column {place[2]}"
        what = message[: place.start()] if place else message
        hint = "Strings need quotes, and a table begins with [its.name]."
        raise TomlError(path, line, f"The file is not valid TOML: {what}{column}.", hint=hint) from error
    lines = _lines(path, statements)
    _check_depth(path, data)
    return TomlDocument(path, data, lines)


_Statement: TypeAlias = "list[tuple[str, int]]"
"""The tokens of a header of a table, or of a key and its value, each with its line."""


def _statements(path: Path, text: str) -> Iterator[_Statement]:
    """Yield the statements of a file. Raises TomlError if a number or a name would take too long to parse."""
    statement: _Statement = []
    line, end, depth, dots = 1, 0, 0, 0
    for match in _TOKEN.finditer(text):
        word, kind = match[0], match.lastgroup
        line += text.count("\n", end, match.start())
        if kind == "mark":
            dots = dots + 1 if word == "." else 0
            depth = max(0, depth + (word in "[{") - (word in "]}"))
            if max(depth, dots) > _DEEPEST:
                raise _too_deep(path, line)
        elif kind == "bare" and len(word) > _LONGEST:
            what = f"A number or a name is longer than {_LONGEST:,} characters."
            raise TomlError(path, line, what, hint=_NEEDLESS)
        if word == "\n" and not depth and statement:
            yield statement
            statement = []
        elif kind != "comment" and word != "\n":
            statement.append((word, line))
        line += word.count("\n")
        end = match.end()
    if statement:
        yield statement


def _lines(path: Path, statements: Iterable[_Statement]) -> dict[Key, int]:
    lines: dict[Key, int] = {}
    arrays: dict[Key, int] = {}  # arrays of tables, with the index of their last element
    table: Key = ()
    for statement in statements:
        tokens = [word for word, _ in statement]
        line = statement[0][1]
        is_header = tokens[0] == "["
        is_array = is_header and tokens[1] == "["
        end = tokens.index("]" if is_header else "=")
        names = [word for word in tokens[is_header + is_array : end] if word != "."]
        key: Key = () if is_header else table
        for position, name in enumerate(names, 1):
            key = (*key, _unquote(name))
            lines.setdefault(key, line)
            if is_array and position == len(names):
                arrays[key] = arrays.get(key, -1) + 1
            if is_header and key in arrays:
                key = (*key, arrays[key])
                lines.setdefault(key, line)
        if len(key) > _DEEPEST:
            raise _too_deep(path, line)
        if is_header:
            table = key
        elif tokens[end + 1] == "[":
            lines |= _elements(key, statement[end + 2 :])
    return lines


def _elements(key: Key, tokens: _Statement) -> dict[Key, int]:
    """Return the lines of an array's elements. `tokens` begin after the array's bracket."""
    lines: dict[Key, int] = {}
    depth = index = 0
    for word, line in tokens:
        if not depth and word == ",":
            index += 1
        elif not depth and word != "]":
            lines.setdefault((*key, index), line)
        depth += (word in ("[", "{")) - (word in ("]", "}"))
    return lines


def _check_depth(path: Path, data: dict[str, object]) -> None:
    level: list[object] = [data]
    for _ in range(_DEEPEST + 1):
        level = [
            inner
            for value in level
            if isinstance(value, dict | list)
            for inner in (value.values() if isinstance(value, dict) else value)
        ]
    if level:
        raise _too_deep(path, 1)


def _too_deep(path: Path, line: int) -> TomlError:
    return TomlError(path, line, f"A value is nested in more than {_DEEPEST} levels.", hint=_NEEDLESS)


def _unquote(name: str) -> str:
    import tomllib

    return str(tomllib.loads(f"key = {name}")["key"]) if name[0] in "\"'" else name
