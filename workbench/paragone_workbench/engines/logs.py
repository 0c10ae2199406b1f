"""Log files for the output of native engines' processes, and for crash reports."""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import time
from pathlib import Path

from paragone import ParagoneError
from paragone_workbench.paths import log_folder, private_folder

_KEPT = 50
_END = 2**19
"""Number of characters that are kept of the beginning, and of the end, of a crash report."""
_numbers = itertools.count(1)


def engine_log(engine: str) -> Path:
    """Create an empty log file for an engine's process, and delete the oldest log files beyond 50.

    Only the user can read the file. Raises ParagoneError if the file cannot be created.
    """
    folder = private_folder(log_folder())
    for old in sorted(folder.glob("*.log"), key=_modified, reverse=True)[_KEPT - 1 :]:
        with contextlib.suppress(OSError):
            old.unlink()
    name = re.sub(r"[^\w.-]+", "-", engine)[:40]  # up to 160 bytes of the 255 that a file name may have
    # The time is part of the name because in a container the process id is the same at each start.
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
    except OSError:  # another instance of the program may have deleted the file
        return 0.0


def crash_report(text: str) -> str:
    """Save a report of an error in the program. Returns where the report is, as the second half of a sentence."""
    try:
        path = engine_log("paragone-crash")
        path.write_text(
            text if len(text) <= 2 * _END else f"{text[:_END]}\n…\n{text[-_END:]}",
            encoding="utf-8",
            errors="backslashreplace",
        )
    except (OSError, ParagoneError):
        return "the crash report could not be written."
    return f"the crash report is in {path}."
