"""One at a time: an environment is made, or removed, by one program alone."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator

from paragone import InputError, ParagoneError
from paragone_workbench.engines.environments.found import beside, folder_of

__all__ = ["alone"]


@contextlib.contextmanager
def alone(name: str) -> Iterator[int]:
    """Keep others away from the environment of this name meanwhile. Raises InputError where one is at it,
    and ParagoneError.

    Gives the lock's descriptor: a program that inherits it keeps the lock, should it outlive us.
    """
    try:
        descriptor = os.open(beside(folder_of(name), "lock"), os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ParagoneError(
            f"Nothing can be written to {folder_of(name).parent}: {error.strerror or error}.",
            hint="Check the permissions and the free space there, or set XDG_DATA_HOME to another folder.",
        ) from error
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"The environment {name} is being made already.", hint="Wait for that to end."
            ) from error
        yield descriptor
    finally:
        os.close(descriptor)
