"""The log of the addresses that recent processes of this program contacted, with one JSON object per line."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from paragone import InputError, ParagoneError
from paragone.network.guard import Contact
from paragone_workbench.paths import private_folder, state_file

LARGEST = 256 * 1024
"""Size in bytes above which the older half of the log is dropped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedContact:
    """The first contact of a process with an address, or the first refusal of the address."""

    time: float
    """Seconds since the epoch."""
    process: int
    command: str
    """The command of the process, such as `ask`; empty for the program with lanes."""
    engine: str
    """The engines or the backend that named the address; empty for an address that nobody named."""
    address: str
    refused: str
    """Why the guard refused the contact; empty for an allowed contact."""


def contact_log() -> Path:
    """Return the path of the log, beside the program's saved state."""
    return state_file().with_name("contacts.jsonl")


def append(contact: Contact, command: str) -> None:
    """Append a contact of this process to the log. Never raises, because an unwritable log must not prevent the contact."""
    logged = LoggedContact(
        time=contact.first,
        process=os.getpid(),
        command=command,
        engine=contact.engine,
        address=contact.address,
        refused=contact.refused,
    )
    line = json.dumps(asdict(logged), ensure_ascii=False)
    with contextlib.suppress(OSError, ParagoneError):
        path = contact_log()
        private_folder(path.parent)
        log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        try:
            os.write(log, f"{line}\n".encode(errors="replace"))
            size = os.fstat(log).st_size
        finally:
            os.close(log)
        if size > LARGEST:
            _drop_older_half(path)


def read_contacts() -> list[LoggedContact]:
    """Return the contacts in the log, the oldest first; an empty list without a log. Unreadable lines are left out.

    Raises InputError if the log cannot be read.
    """
    from paragone.regular_file import read_regular_file
    from paragone.wire import from_json

    try:
        lines = read_regular_file(contact_log(), hint="Move the file away; a new log is made.").splitlines()
    except InputError as error:
        if isinstance(error.__cause__, FileNotFoundError):
            return []
        raise
    found = []
    for line in lines:
        with contextlib.suppress(ValueError, TypeError, RecursionError):
            found.append(from_json(LoggedContact, json.loads(line)))
    return found


def _drop_older_half(path: Path) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    shorter = path.with_name(f"{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(shorter, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(descriptor, "wb") as file:  # noqa: PTH123 (the mode is set on the descriptor)
            file.writelines(lines[len(lines) // 2 :])
        shorter.replace(path)
    except OSError:
        shorter.unlink(missing_ok=True)
