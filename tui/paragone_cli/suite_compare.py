"""`paragone suite compare`."""

from __future__ import annotations

from paragone_cli.arguments import Arguments

__all__ = ["suite_compare"]


def suite_compare(args: Arguments) -> int:
    """Run the command. Returns the exit code."""
    raise NotImplementedError
