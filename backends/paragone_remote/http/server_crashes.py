"""What to do about a server whose engine crashed, by the text of the server's error."""

from __future__ import annotations

import re

from paragone.crash_causes import WITHOUT_AMX, find_cause

_AMX = (
    "on Intel CPUs with AMX, Ollama before 0.32.2 and llama.cpp compiled by GCC before 13.3 crash at the first prompt. "  # noqa: S608 (no SQL)
    f"Update the server, or compile it with CFLAGS and CXXFLAGS set to {WITHOUT_AMX}."
)
_DIED = (
    r"((runner|llama-server)( process)? has (terminated|unexpectedly stopped)"
    r"|an error was encountered while running the model)"
)
"""Ollama's errors for a process that crashed: while it loaded the model, during the prompt, during the answer."""

_CURES = {
    # Ollama's issues 17006, 17205 and 17249; Ollama's releases since 0.32.2 are compiled by GCC 13 (issue 17244).
    rf"{_DIED}.*(segmentation|SIGSEGV|illegal instruction|SIGILL)": (
        f"The server's log says more. A known cause: {_AMX}"
    ),
    rf"{_DIED}.*killed": (
        "The system probably killed the engine because memory ran out: choose a smaller quantization or context, or "
        "unload other models."
    ),
    rf"{_DIED}(, this may be due to resource limitations|.*unexpected EOF)": (
        f"The server's log says why. Often memory ran out; and {_AMX}"
    ),
}


def cure(words: str) -> str:
    """Return what to do about a failure that a server reports in these words; empty if unknown."""
    for pattern, known in _CURES.items():
        if re.search(pattern, words, re.IGNORECASE):
            return known
    cause = find_cause((), says=words)
    return "" if cause is None else cause.cure
