"""Errors of the store, with messages for the user."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from paragone import ParagoneError


class StoreError(ParagoneError):
    """The history could not be read or saved. The conversation in memory is not affected."""

    def __init__(self, message: str, *, hint: str = "", can_pass: bool = False) -> None:
        super().__init__(message, hint=hint)
        self.can_pass = can_pass
        """Whether the error may be temporary, so that a retry may succeed: a locked file, a full disk …"""


class HistoryLocked(StoreError):
    """Another program keeps the history locked."""


class HistoryMoved(StoreError):
    """The open file is no longer at its path: everything that is written would be lost."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"The history in {path} was moved or deleted while paragone was running.",
            hint="The whole open conversation is saved again, in a new file at the same path.",
            can_pass=True,
        )


class ConversationDeleted(StoreError):
    """The conversation cannot be saved, because another instance of the program deleted it."""

    def __init__(self) -> None:
        super().__init__(
            "This conversation was deleted by another instance of paragone; it is no longer saved.",
            hint="Begin a new conversation.",
        )


DAMAGED = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)
"""The exceptions that decoding a damaged record raises."""


@contextlib.contextmanager
def decoding(what: str) -> Iterator[None]:
    """Raise a StoreError in place of the exceptions in `DAMAGED`. `what` names the record, such as `Conversation c7`."""
    try:
        yield
    except DAMAGED as error:
        raise StoreError(
            f"{what} cannot be read: the record in the history is damaged, or another version of paragone wrote the record.",
            hint="The other records can be used.",
        ) from error


_LOCKED = "another program keeps it locked", "Close the program that has it open.", True
_PERMISSIONS = "Check the permissions of the file and its folder."

# Keys are the names of SQLite's primary error codes; the name of an extended code starts with its primary code.
# The values are the reason, a hint, and whether the error can pass.
# Errors that are not listed count as temporary: a useless retry costs little, a missing retry loses a conversation.
_REASONS: dict[str, tuple[str, str, bool]] = {
    "SQLITE_FULL": ("the disk is full", "Free some space; until then answers are not saved.", True),
    "SQLITE_READONLY": ("it may not be written to", _PERMISSIONS, True),
    "SQLITE_CANTOPEN": ("it cannot be opened", _PERMISSIONS, True),
    "SQLITE_CORRUPT": (
        "the file is damaged",
        "`paragone history export --all --to saved.jsonl` writes the conversations that can be read. Then move the file away "
        "and import saved.jsonl. `sqlite3 FILE .recover` may recover more.",
        False,
    ),
    "SQLITE_NOTADB": (
        "the file is not a database",
        "Move the file away and restart: a new history is created.",
        False,
    ),
    "SQLITE_BUSY": _LOCKED,
    "SQLITE_LOCKED": _LOCKED,
    "SQLITE_IOERR": ("reading or writing failed", "Check the disk and the space on it.", True),
    "SQLITE_TOOBIG": (
        "a text exceeds SQLite's size limit",
        "Begin a new conversation: this one is no longer saved.",
        False,
    ),
    "SQLITE_CONSTRAINT": (
        "the conversation no longer exists",
        "Another instance of paragone deleted it; begin a new conversation.",
        False,
    ),
}


def store_error(path: Path, error: Exception) -> StoreError:
    """Return an error of SQLite or of the operating system as a StoreError with a message for the user."""
    if isinstance(error, OSError):
        reason, hint = error.strerror or str(error), "Check the permissions and the free space there."
        return StoreError(f"The history in {path} cannot be used: {reason}.", hint=hint, can_pass=True)
    name = getattr(error, "sqlite_errorname", "")
    with contextlib.suppress(OSError):
        if name.startswith(("SQLITE_IOERR", "SQLITE_CANTOPEN")) and not os.statvfs(path.parent).f_bavail:
            name = "SQLITE_FULL"
    for known, (reason, hint, can_pass) in _REASONS.items():
        if name.startswith(known):
            kind = HistoryLocked if known in ("SQLITE_BUSY", "SQLITE_LOCKED") else StoreError
            return kind(f"The history in {path} cannot be used: {reason}.", hint=hint, can_pass=can_pass)
    return StoreError(f"The history in {path} cannot be used: {error}.", can_pass=True)
