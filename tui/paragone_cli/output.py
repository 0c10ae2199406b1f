"""Standard output and standard error: data exactly as it is for programs, nothing that steers a terminal."""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import unicodedata
from collections.abc import Sequence

from paragone import EngineCrashed, Json, ParagoneError
from paragone_tui.terminal.text import visible

__all__ = [
    "OutputError",
    "print_error",
    "flush",
    "discard_output",
    "one_line",
    "note",
    "configure_streams",
    "put",
    "put_json",
    "put_table",
    "for_output",
    "warn",
]


class OutputError(ParagoneError):
    """Standard output takes nothing more. Without a sentence where its reader just had enough."""

    def __init__(self, error: OSError) -> None:
        gone = isinstance(error, BrokenPipeError)
        super().__init__("" if gone else f"The output cannot be written: {error.strerror or error}.")
        # the first is how the shell has it of a program that SIGPIPE ended
        self.exit_code = 128 + 13 if gone else 1


def configure_streams() -> None:
    """Make ready what the program prints to: UTF-8 for programs, and no character that ends it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="replace")


def put(text: str = "") -> None:
    """Print a text and a line end. Raises OutputError."""
    try:
        sys.stdout.write(f"{text}\n")
    except OSError as error:
        raise OutputError(error) from error


def flush() -> None:
    """See to it that what was printed is out. Raises OutputError."""
    try:
        sys.stdout.flush()
    except OSError as error:
        raise OutputError(error) from error


def discard_output() -> None:
    """Keep Python from trying, and complaining, once more as it ends."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def for_output(text: str) -> str:
    """Return a text of many lines as it goes to standard output: cleaned for a terminal, else as it is."""
    return visible(text) if sys.stdout.isatty() else text


def one_line(text: str) -> str:
    """Return a name, a path or a sentence as it is printed anywhere: cleaned, and on one line."""
    return " ".join(visible(text).splitlines())


def put_json(data: Json) -> None:
    """Print JSON that is exact and yet safe on a terminal: what could steer it stands there as `\\uXXXX`."""
    text = json.dumps(data, ensure_ascii=False, indent=2)
    if visible(text) != text:
        text = "".join(_escaped(character) for character in text)
    put(text)


def _escaped(character: str) -> str:
    if character == "\n" or visible(character) == character:
        return character
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[place]:02x}{units[place + 1]:02x}" for place in range(0, len(units), 2))


def put_table(rows: Sequence[Sequence[str]]) -> None:
    """Print rows in columns, two blanks between them."""
    cleaned = [[one_line(cell) for cell in row] for row in rows]
    widths = [max(map(_width, column)) for column in zip(*cleaned, strict=True)]
    for row in cleaned:
        cells = (cell + " " * (width - _width(cell)) for cell, width in zip(row, widths, strict=True))
        put("  ".join(cells).rstrip())


def _width(text: str) -> int:
    return sum(
        0 if unicodedata.combining(character) else 1 + (unicodedata.east_asian_width(character) in "WF")
        for character in text
    )


def print_error(error: ParagoneError) -> None:
    """Say on standard error what failed, and what to do about it."""
    lines = [f"paragone: {one_line(error.sentence)}"]
    if isinstance(error, EngineCrashed):
        lines += [f"  | {one_line(said)}" for said in error.log_tail]
    if error.hint:
        lines.append(one_line(error.hint))
    _say("\n".join(lines))


def warn(sentence: str) -> None:
    """Say on standard error what the user should know, though nothing had to stop for it."""
    _say(f"paragone: warning: {one_line(sentence)}")


def note(sentence: str) -> None:
    """Say on standard error why there is nothing on standard output."""
    _say(f"paragone: {one_line(sentence)}")


def _say(text: str) -> None:
    with contextlib.suppress(OSError):  # there is nobody left to tell
        print(text, file=sys.stderr)
