"""`paragone suite show`."""

from __future__ import annotations

from paragone_cli.arguments import Arguments

__all__ = ["suite_show"]


def suite_show(args: Arguments) -> int:
    """Run the command. Returns the exit code."""
    raise NotImplementedError
