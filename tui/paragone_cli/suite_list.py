"""`paragone suite list`."""

from __future__ import annotations

from paragone_cli.arguments import Arguments

__all__ = ["suite_list"]


def suite_list(args: Arguments) -> int:
    """Run the command. Returns the exit code."""
    raise NotImplementedError
