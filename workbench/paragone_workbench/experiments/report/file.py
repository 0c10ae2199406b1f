"""Writes a report into a file, in the format of its suffix."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeAlias, get_args

from paragone import InputError, ParagoneError

__all__ = ["Format", "format_of", "write"]

Format: TypeAlias = Literal["html", "md", "csv", "json"]
"""The suffixes of the file's name."""


def format_of(path: Path) -> Format:
    """Return the format of a file by its suffix. Raises InputError if it is none, or the file cannot be written."""
    formats = {name: name for name in get_args(Format)}
    found: Format | None = formats.get(path.suffix[1:].lower())
    try:
        if path.is_dir():
            raise InputError(f"{path} is a folder.", hint="Name a file in it, such as report.html.")
        if path.exists() and not path.is_file():
            # it would be replaced: /dev/null by a file
            raise InputError(f"{path} is not a regular file.", hint="Choose another name.")
    except OSError as error:
        raise InputError(f"{path} cannot be written: {error.strerror or error}.") from error
    if found is None:
        raise InputError(
            f"The format of {path} is unknown: the name must end in .html, .md, .csv or .json.",
            hint="For a page to read in a browser, write --to report.html.",
        )
    if not path.parent.is_dir():
        raise InputError(
            f"The folder {path.parent} does not exist.", hint="Create it, or choose another one."
        )
    return found


def write(path: Path, pieces: Iterable[str]) -> int:
    """Write the pieces into a file, in place of an earlier one, and return its size in bytes.

    The file has its name only once it is complete: if something fails, an earlier file stays as it was.
    Raises ParagoneError, and InputError if the file cannot be created.
    """
    target = Path(os.path.realpath(path))  # a symbolic link stays one
    try:
        with _beside(target) as new:
            with new.open("w", encoding="utf-8", newline="") as file:
                for piece in pieces:
                    file.write(piece)
            size = new.stat().st_size
            new.replace(target)
    except OSError as error:
        unwritable = InputError if isinstance(error, PermissionError) else ParagoneError
        kept = " The earlier file was kept." if target.exists() else ""
        raise unwritable(
            f"{path} cannot be written: {error.strerror or error}.{kept}",
            hint="Check the permissions and the free space there.",
        ) from error
    return size


@contextlib.contextmanager
def _beside(target: Path) -> Iterator[Path]:
    """Create a file in the same folder, and delete it at the end if it still has its first name."""
    new = target.with_name(f".{target.name}.{os.getpid()}.part")
    os.close(os.open(new, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    try:
        yield new
    finally:
        new.unlink(missing_ok=True)
