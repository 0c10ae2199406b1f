"""What can go wrong with the store, in sentences."""

from __future__ import annotations

from pathlib import Path

from paragone import ParagoneError

__all__ = ["StoreError", "told"]


class StoreError(ParagoneError):
    """The history could not be read or saved. What is on the screen is not affected."""


# by SQLite's names for its errors; the extended ones begin with the plain ones
_SAID = {
    "SQLITE_FULL": ("the disk is full", "Free some space; until then answers are not saved."),
    "SQLITE_READONLY": ("it may not be written to", "Check the permissions of the file and its folder."),
    "SQLITE_CANTOPEN": ("it cannot be opened", "Check the permissions of the file and its folder."),
    "SQLITE_CORRUPT": (
        "the file is damaged",
        "Move it away and start again: a new one is made, and the old one may be mended with "
        "`sqlite3 FILE .recover`.",
    ),
    "SQLITE_NOTADB": ("the file is no database", "Move it away and start again: a new one is made."),
    "SQLITE_BUSY": ("another program keeps it locked", "Close what has it open."),
    "SQLITE_LOCKED": ("another program keeps it locked", "Close what has it open."),
    "SQLITE_IOERR": ("reading or writing failed", "Check the disk and the space on it."),
    "SQLITE_CONSTRAINT": (
        "what this belongs to is gone",
        "It was deleted by another copy of the program; begin a new conversation.",
    ),
}


def told(path: Path, error: Exception) -> StoreError:
    """Return the error that tells a user what SQLite, or the system below it, said."""
    if isinstance(error, OSError):
        reason, hint = error.strerror or str(error), "Check the permissions and the free space there."
        return StoreError(f"The history in {path} cannot be used: {reason}.", hint=hint)
    name = getattr(error, "sqlite_errorname", "")
    for known, (reason, hint) in _SAID.items():
        if name.startswith(known):
            return StoreError(f"The history in {path} cannot be used: {reason}.", hint=hint)
    return StoreError(f"The history in {path} cannot be used: {error}.")
