"""Reads the prompt from the command line, from standard input, or from both."""

from __future__ import annotations

import sys

from paragone import InputError

__all__ = ["read_prompt"]


def read_prompt(given: str | None) -> str:
    """Return the prompt: `given`, or standard input if that is None or `-`.

    If a prompt is given and standard input is not a terminal, its text is appended after an empty line.
    One trailing newline of standard input is removed. Raises InputError.
    """
    if given is None and _is_terminal():
        raise InputError("There is no prompt.", hint="Write it after the engine, or pipe it in.")
    if given is None or given == "-":
        prompt = _read()
    else:
        piped = "" if _is_terminal() else _read()
        prompt = f"{given}\n\n{piped}" if piped.strip() else given
    if not prompt.strip():
        raise InputError("The prompt is empty.")
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise InputError("The prompt is not UTF-8 text.") from error
    return prompt


def _is_terminal() -> bool:
    return sys.stdin is not None and sys.stdin.isatty()


def _read() -> str:
    if sys.stdin is None:  # closed by the parent process
        return ""
    try:
        text = sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise InputError("Standard input is not UTF-8 text.") from error
    except OSError as error:
        raise InputError(f"Standard input cannot be read: {error.strerror or error}.") from error
    return text.removesuffix("\n").removesuffix("\r")
