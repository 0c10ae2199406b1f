"""Questions to the user, on the terminal."""

from __future__ import annotations

import sys

from paragone import InputError


def at_terminal() -> bool:
    """Whether standard input is a terminal, so that the user can be asked."""
    return sys.stdin is not None and sys.stdin.isatty()


def require_answer() -> None:
    """Raise InputError if the user cannot be asked. The error's hint names the option --yes."""
    if not at_terminal():
        raise InputError(
            "Standard input is not a terminal, so nobody can confirm.", hint="Confirm with --yes."
        )


def confirmed(question: str) -> bool:
    """Ask a question on standard error, and return whether the answer is yes."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
