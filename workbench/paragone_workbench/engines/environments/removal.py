"""Removes an environment."""

from __future__ import annotations

import contextlib
import shutil

from paragone import InputError, ParagoneError
from paragone_workbench.engines.definitions import suggest
from paragone_workbench.engines.environments.installed import (
    MARKER,
    environment_folder,
    list_installed,
    sibling_path,
    size_of,
)
from paragone_workbench.engines.environments.lock import exclusive_lock

__all__ = ["remove"]


def remove(name: str) -> int:
    """Delete an environment and return the number of freed bytes. Raises InputError and ParagoneError."""
    installed = [environment.name for environment in list_installed({})]
    if name not in installed:
        hint = suggest(name, installed) if installed else "There are no environments on this machine."
        raise InputError(f"There is no environment {name!r}.", hint=hint)
    folder = environment_folder(name)
    with exclusive_lock(name):
        size = 0 if folder.is_symlink() else size_of(folder)
        try:
            if folder.is_symlink():  # the target is not ours: delete only the link
                folder.unlink()
                return size
            with contextlib.suppress(FileNotFoundError):
                # first, so that a partly deleted environment is not used
                (folder / MARKER).unlink()
            shutil.rmtree(folder)
            for suffix in ("old", "tmp"):  # left behind if the program was killed while creating one
                shutil.rmtree(sibling_path(folder, suffix), ignore_errors=True)
        except OSError as error:
            raise ParagoneError(f"{folder} cannot be deleted: {error.strerror or error}.") from error
        return size
