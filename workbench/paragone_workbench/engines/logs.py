"""Where the processes of native engines print to."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from pathlib import Path

from paragone import ParagoneError
from paragone_workbench.paths import log_folder, private_folder

__all__ = ["crash_report", "engine_log"]

_KEPT = 50
_numbers = itertools.count(1)


def engine_log(engine: str) -> Path:
    """Make an empty file for what an engine's process prints, and drop the oldest beyond 50.

    It is readable by the user alone. Raises ParagoneError where it cannot be made.
    """
    folder = private_folder(log_folder())
    for old in sorted(folder.glob("*.log"), key=_modified, reverse=True)[_KEPT - 1 :]:
        with contextlib.suppress(OSError):
            old.unlink()
    name = re.sub(r"[^\w.-]+", "-", engine)[:40]  # characters, of up to four bytes; a name has 255
    # The time, because in a container the program has the same process id again and again.
    path = folder / f"{name}.{time.strftime('%Y%m%d-%H%M%S')}.{os.getpid()}-{next(_numbers)}.log"
    try:
        path.touch(mode=0o600)
    except OSError as error:
        raise ParagoneError(
            f"The log {path} cannot be written: {error.strerror or error}.",
            hint="Check the permissions of its folder, and the free space there.",
        ) from error
    return path


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another copy of the program may have dropped it
        return 0.0


def crash_report(text: str) -> str:
    """Keep a report of a mistake in the program, and return where it is, as the end of a sentence."""
    try:
        path = engine_log("paragone-crash")
        path.write_text(text, encoding="utf-8", errors="backslashreplace")
    except (OSError, ParagoneError):
        return "the report of it could not be written."
    return f"the report for its makers is in {path}."
