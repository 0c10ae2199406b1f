"""Questions to the user, on the terminal."""

from __future__ import annotations

import sys


def can_ask() -> bool:
    """Whether the user can be asked: standard input is a terminal."""
    return sys.stdin is not None and sys.stdin.isatty()


def confirmed(question: str) -> bool:
    """Ask a question on standard error, and return whether the answer is yes."""
    print(f"{question} [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")
