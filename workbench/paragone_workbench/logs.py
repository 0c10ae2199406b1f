"""Where the processes of native engines print to."""

from __future__ import annotations

import itertools
import os
import re
from pathlib import Path

from paragone import ParagoneError
from paragone_workbench.paths import log_folder, private_folder

__all__ = ["crash_report", "engine_log"]

_KEPT = 50
_numbers = itertools.count(1)


def engine_log(engine: str) -> Path:
    """Return a new file's path for what an engine's process prints, and drop the oldest beyond 50.

    Raises ParagoneError where the folder cannot be made.
    """
    folder = private_folder(log_folder())
    for old in sorted(folder.glob("*.log"), key=_modified, reverse=True)[_KEPT - 1 :]:
        old.unlink(missing_ok=True)
    name = re.sub(r"[^\w.-]+", "-", engine)[:60]
    return folder / f"{name}.{os.getpid()}-{next(_numbers)}.log"


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:  # another copy of the program may have dropped it
        return 0.0


def crash_report(text: str) -> str:
    """Keep a report of a mistake in the program, and return where it is, as the end of a sentence."""
    try:
        path = engine_log("paragone-crash")
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 (the descriptor carries the mode)
            file.write(text)
    except (OSError, ParagoneError):
        return "the report of it could not be written."
    return f"the report for its makers is in {path}."
