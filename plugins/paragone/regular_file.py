"""Read files that the user names. Pipes and devices are refused: reading them might never end."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

from paragone.errors import InputError

__all__ = [
    "LARGEST",
    "LARGEST_TEXT",
    "NotRegularFileError",
    "open_regular_file",
    "option_text",
    "read_regular_file",
    "reading",
]

LARGEST = 2**28
"""Largest size in bytes of a file that is read whole, unless the caller of the reader sets another limit."""

LARGEST_TEXT = 16 * 10**6
"""Largest size in bytes of a file whose text is the value of an option."""


class NotRegularFileError(OSError):
    """The path names a pipe, a socket or a device."""

    def __init__(self) -> None:
        super().__init__(errno.EINVAL, "Not a regular file")


def open_regular_file(path: str | Path) -> BufferedReader:
    """Open a file for reading.

    Raises NotRegularFileError for a pipe, a socket or a device, ValueError if the path has a null character, and OSError if
    the file cannot be opened.
    """
    try:
        file = open(path, "rb", opener=_without_waiting)  # noqa: SIM115 (the caller closes it)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a socket
            raise NotRegularFileError from error
        raise
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise NotRegularFileError
    return file


def _without_waiting(path: str, flags: int) -> int:
    """Open a path without blocking, even a pipe that no process writes to."""
    return os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


@contextlib.contextmanager
def reading(path: Path, *, hint: str) -> Iterator[BufferedReader]:
    """Open a file for reading until the end of the block. Errors for a pipe, a socket or a device have this `hint`.

    Raises InputError if the file cannot be opened or read, or is not a regular file.
    """
    try:
        with open_regular_file(path) as file:
            yield file
    except NotRegularFileError as error:
        raise InputError(f"{path} is not a regular file.", hint=hint) from error
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or error}.", hint="Check its name and its permissions."
        ) from error


def read_regular_file(path: Path, *, hint: str, largest: int = LARGEST) -> bytes:
    """Return the content of a regular file of at most `largest` bytes.

    Raises InputError if the file cannot be read, is not regular, or is too large; in the last two cases with `hint`.
    """
    with reading(path, hint=hint) as file:
        size = os.fstat(file.fileno()).st_size
        if size <= largest:
            # files of /proc have the size 0, and some have no end
            content = file.read(-1 if size else largest + 1)
            if len(content) <= largest:
                return content
        raise InputError(f"{path} is larger than {_size(largest)}.", hint=hint)


def _size(count: int) -> str:
    return f"{count // 10**6} MB" if count % 2**20 else f"{count // 2**20} MiB"


def option_text(value: str, option: str) -> str:
    """Return the option's value, or, for a value `@PATH`, the content of the file. Raises InputError."""
    if not value.startswith("@"):
        return value
    hint = "After @ comes the name of a text file."
    try:
        return read_regular_file(Path(value[1:]).expanduser(), hint=hint, largest=LARGEST_TEXT).decode()
    except InputError as error:
        reason, hint = error.sentence, error.hint
    except UnicodeDecodeError:
        reason = f"{value[1:]} is not UTF-8 text."
    except (RuntimeError, ValueError) as error:  # an unknown home folder, a null character
        reason = f"{value[1:]} cannot be read: {str(error).rstrip('.')}."
    raise InputError(f"The option {option!r} cannot be used: {reason}", hint=hint)
