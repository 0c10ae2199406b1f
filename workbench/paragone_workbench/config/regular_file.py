"""Reads files that the user names."""

from __future__ import annotations

from pathlib import Path

from paragone import InputError

__all__ = ["read_regular_file"]


def read_regular_file(path: Path, *, hint: str) -> bytes:
    """Return the content of a file. Raises InputError if it cannot be read, with `hint` if it is a pipe or device."""
    try:
        if path.exists() and not (path.is_file() or path.is_dir()):
            # reading a pipe might never end
            raise InputError(f"{path} is not a regular file.", hint=hint)
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"{path} cannot be read: {error.strerror or error}.", hint="Check its name and its permissions."
        ) from error
