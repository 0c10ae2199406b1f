"""List the files whose paths begin with the typed text."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from paragone import InputError
from paragone.hub import is_folder
from paragone_workbench.visible_text import visible


@dataclass(frozen=True, slots=True, kw_only=True)
class PathCandidate:
    """A file or a folder that completes the typed text."""

    path: str
    """A path that begins with the typed text, apart from upper and lower case. The path of a folder ends with a slash."""
    size: int | None
    """Size in bytes; None for a folder."""


def candidates(begun: str) -> tuple[PathCandidate, ...]:
    """Return the files and folders whose paths begin with a text, folders last. Blocking.

    The name after the last slash may differ in upper and lower case. Hidden files are left out unless this name begins with a dot.
    Raises InputError if the folder cannot be listed.
    """
    slash = begun.rfind("/") + 1
    folder, name = begun[:slash], begun[slash:].casefold()
    if begun == "~":
        return (PathCandidate(path="~/", size=None),)
    found: list[PathCandidate] = []
    try:
        with os.scandir(Path(folder or ".").expanduser()) as entries:
            for entry in entries:
                known = entry.name.casefold()
                if not known.startswith(name) or (known.startswith(".") and not name):
                    continue
                if set('"\r\n') & set(entry.name):
                    continue  # a mention cannot contain these characters, not even in quotation marks
                if is_folder(entry):
                    found.append(PathCandidate(path=f"{folder}{entry.name}/", size=None))
                else:
                    found.append(PathCandidate(path=folder + entry.name, size=_size(entry)))
    except (OSError, RuntimeError, ValueError) as error:  # RuntimeError: an unknown home; ValueError: a null
        reason = getattr(error, "strerror", None) or str(error).rstrip(".")
        raise InputError(f"{visible(folder) or 'This folder'} cannot be listed: {reason}.") from error
    return tuple(sorted(found, key=lambda one: (one.size is None, one.path.casefold())))


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat().st_size if entry.is_file() else 0
    except OSError:
        return 0
