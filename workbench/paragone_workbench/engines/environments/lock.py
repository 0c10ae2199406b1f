"""A lock that lets only one program at a time create or remove an environment."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from paragone import InputError, ParagoneError
from paragone_workbench.engines.environments.installed import environment_folder, sibling_path

__all__ = ["exclusive_lock"]


@contextlib.contextmanager
def exclusive_lock(name: str) -> Iterator[int]:
    """Lock the environment of this name. Raises InputError if it is locked, and ParagoneError on other errors.

    Yields the lock's file descriptor. A child process that inherits it keeps the lock if it outlives this
    process.
    """
    try:
        descriptor = os.open(sibling_path(environment_folder(name), "lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ParagoneError(
            f"{environment_folder(name).parent} cannot be written to: {error.strerror or error}.",
            hint="Check the permissions and the free space there, or set XDG_DATA_HOME to another folder.",
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"The environment {name} is already being created or removed.",
                hint="Try again when that is done.",
            ) from error
        yield descriptor
    finally:
        os.close(descriptor)
