"""Read the text of PDFs with the package pypdf, in a process with limits."""

from __future__ import annotations

import importlib.util
import json
import signal
import subprocess
import sys
from pathlib import Path

from paragone import InputError
from paragone.installation import install_command
from paragone.wording import shortened, size_text

SECONDS = 10
"""Seconds of CPU time that reading a PDF may take."""
MEMORY = 2**30
"""Bytes of memory that reading a PDF may take, on Linux."""
WALL_S = 120.0
"""Seconds that reading a PDF may take on a busy machine."""

_PROGRAM = Path(__file__).with_name("pdf_process.py")
_REASON = 300
"""Largest number of characters of pypdf's reason that an error message shows."""


def pdf_text(content: bytes, shown: str, largest: int) -> str:
    """Return the text of all pages of a PDF, at most `largest` characters. `shown` is the PDF's name in errors. Blocking.

    Raises InputError if pypdf is not installed, if the PDF is damaged, encrypted, or without text, and if reading it
    takes too much time or memory.
    """
    if importlib.util.find_spec("pypdf") is None:
        raise InputError(
            "The text of PDFs needs the package pypdf, which is not installed.",
            hint=f"To install it: {install_command('pdf')}",
        )
    found = _read(content, shown, largest)
    match found.get("error"):
        case "encrypted":
            raise InputError(f"{shown} is encrypted.", hint="Save a copy without a password.")
        case "long":
            raise InputError(f"The text of {shown} is longer than {size_text(largest)}.")
        case "memory":
            raise _costly(shown, f"more than {size_text(MEMORY)} of memory")
        case "damaged":
            reason = shortened(" ".join(found["reason"].split()), _REASON)
            raise InputError(f"The PDF {shown} cannot be read: {reason}.")
    if not found["text"]:
        raise InputError(
            f"{shown} has no text: its pages are pictures.",
            hint="Attach its pages as images, or use a program that recognizes text.",
        )
    return found["text"]


def _read(content: bytes, shown: str, largest: int) -> dict[str, str]:
    limits = (largest, SECONDS, MEMORY)
    # -P: the modules beside the program must not hide modules of the standard library
    command = [sys.executable, "-P", str(_PROGRAM), *map(str, limits)]
    try:
        # a process group of its own: only the application receives Ctrl+C
        ended = subprocess.run(
            command, input=content, capture_output=True, timeout=WALL_S, check=False, process_group=0
        )
    except subprocess.TimeoutExpired as error:
        raise _costly(shown, f"more than {WALL_S:g} seconds") from error
    except OSError as error:
        raise InputError(f"The PDF {shown} cannot be read: no process can be started ({error}).") from error
    if ended.returncode == -signal.SIGXCPU:
        raise _costly(shown, f"more than {SECONDS} seconds of CPU time")
    if ended.returncode:
        raise InputError(
            f"The PDF {shown} cannot be read: the process that reads it ended with status {ended.returncode}."
        )
    found: dict[str, str] = json.loads(ended.stdout)
    return found


def _costly(shown: str, what: str) -> InputError:
    return InputError(f"Reading the PDF {shown} takes {what}.", hint="Attach a part of it, or its text.")
