"""Deleting an environment."""

from __future__ import annotations

import contextlib
import shutil

from paragone import InputError, ParagoneError
from paragone_workbench.engines.definitions import nearest
from paragone_workbench.engines.environments.found import MARKER, beside, find, folder_of, size_of
from paragone_workbench.engines.environments.lock import alone

__all__ = ["remove"]


def remove(name: str) -> int:
    """Delete an environment, and return how many bytes that freed. Raises InputError and ParagoneError."""
    there = [found.name for found in find({})]
    if name not in there:
        hint = nearest(name, there) if there else "There is none on this machine."
        raise InputError(f"There is no environment {name!r}.", hint=hint)
    folder = folder_of(name)
    with alone(name):
        size = 0 if folder.is_symlink() else size_of(folder)
        try:
            if folder.is_symlink():  # somebody else's, who keeps it
                folder.unlink()
                return size
            with contextlib.suppress(FileNotFoundError):
                # Without the marker first: what is half deleted must not be used.
                (folder / MARKER).unlink()
            shutil.rmtree(folder)
            for what in ("old", "tmp"):  # left where the program was killed while it made one
                shutil.rmtree(beside(folder, what), ignore_errors=True)
        except OSError as error:
            raise ParagoneError(f"{folder} cannot be deleted: {error.strerror or error}.") from error
        return size
