"""Read TOML files with the line number of every key, so that an error can name its position."""

from __future__ import annotations

import re
from collections.abc import Mapping
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
"""Largest number of names and indexes in the path to a value. Time and memory grow with the square of this number."""

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
        """The error message without the position."""


@dataclass(frozen=True, slots=True)
class TomlDocument:
    path: Path
    data: Mapping[str, object] = field(default_factory=dict)
    lines: Mapping[Key, int] = field(default_factory=dict)
    """Line of each key, table and array element, from 1."""

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

    try:
        scanner = _Scanner(path, text)
        return TomlDocument(path, tomllib.loads(text), scanner.run())
    except tomllib.TOMLDecodeError as error:
        message = str(error)
        place = re.search(r" \(at (?:line (\d+), column (\d+)|end of document)\)$", message)
        line, column = text.rstrip().count("\n") + 1, ""
        if place and place[1]:
            line, column = int(place[1]), f" at column {place[2]}"
        what = message[: place.start()] if place else message
        hint = "Strings need quotes, and a table begins with [its.name]."
        raise TomlError(path, line, f"The file is not valid TOML: {what}{column}.", hint=hint) from error
    except RecursionError as error:
        raise TomlError(path, 1, "The file is nested too deeply.", hint=_NEEDLESS) from error


class _Scanner:
    """Scans the tokens of a TOML text once and records the line of each key."""

    def __init__(self, path: Path, text: str) -> None:
        """Raise TomlError if a number or a key is so long that parsing would take too long."""
        self._path = path
        self._tokens: list[tuple[str, int, bool]] = []  # text, line, whether the text is a quoted string
        line, end, dots = 1, 0, 0
        for match in _TOKEN.finditer(text):
            line += text.count("\n", end, match.start())
            if match.lastgroup == "mark":
                dots = dots + 1 if match[0] == "." else 0
                self._check_depth(dots, line)
            elif match.lastgroup == "bare" and len(match[0]) > _LONGEST:
                what = f"A number or a name is longer than {_LONGEST:,} characters."
                raise TomlError(path, line, what, hint=_NEEDLESS)
            if match.lastgroup != "comment":
                self._tokens.append((match[0], line, match.lastgroup == "string"))
            line += match[0].count("\n")
            end = match.end()
        self._at = 0
        self._lines: dict[Key, int] = {}
        self._arrays: dict[Key, int] = {}  # arrays of tables, with the index of their last element

    def run(self) -> dict[Key, int]:
        table: Key = ()
        while self._at < len(self._tokens):
            if self._take("\n"):
                continue
            if self._take("["):
                many = self._take("[")
                table = self._header(many)
            else:
                self._pair(table)
        return self._lines

    def _header(self, many: bool) -> Key:
        table: Key = ()
        line = self._line()
        names = self._name()
        for position, name in enumerate(names):
            table = (*table, name)
            self._record(table, line)
            if many and position == len(names) - 1:
                self._arrays[table] = self._arrays.get(table, -1) + 1
            if table in self._arrays:
                table = (*table, self._arrays[table])
                self._record(table, line)
        self._take("]")
        if many:
            self._take("]")
        return table

    def _pair(self, table: Key) -> None:
        line = self._line()
        key = table
        for name in self._name():
            key = (*key, name)
            self._record(key, line)
        self._take("=")
        self._value(key)

    def _value(self, key: Key) -> None:
        if self._take("["):
            self._array(key)
        elif self._take("{"):
            while not self._take("}"):
                if not (self._take("\n") or self._take(",")):
                    self._pair(key)
        else:
            # A plain value extends to the next delimiter, because dates contain spaces and numbers contain dots.
            while not (self._next("\n") or self._next(",") or self._next("]") or self._next("}")):
                self._at += 1

    def _array(self, key: Key) -> None:
        index = 0
        while not self._take("]"):
            if self._take("\n"):
                continue
            if self._take(","):
                index += 1
                continue
            self._record((*key, index), self._line())
            self._value((*key, index))

    def _name(self) -> list[str]:
        """Consume a key, with or without dots, and return its names."""
        names: list[str] = []
        while not (self._next("=") or self._next("]")):
            text, _, quoted = self._tokens[self._at]
            self._at += 1
            if quoted:
                names.append(_unquote(text))
            elif text != ".":
                names.append(text)
        return names

    def _record(self, key: Key, line: int) -> None:
        self._check_depth(len(key), line)
        self._lines.setdefault(key, line)

    def _check_depth(self, names: int, line: int) -> None:
        if names > _DEEPEST:
            what = f"A value is nested in more than {_DEEPEST} levels."
            raise TomlError(self._path, line, what, hint=_NEEDLESS)

    def _line(self) -> int:
        return self._tokens[self._at][1]

    def _next(self, mark: str) -> bool:
        if self._at >= len(self._tokens):
            return True  # the end of the text closes all open arrays and tables
        return self._tokens[self._at][0] == mark

    def _take(self, mark: str) -> bool:
        if self._next(mark):
            self._at += 1
            return True
        return False


def _unquote(text: str) -> str:
    import tomllib

    value: str = tomllib.loads(f"key = {text}")["key"]
    return value
