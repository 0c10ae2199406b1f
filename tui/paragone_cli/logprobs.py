"""The option `--logprobs`."""

from __future__ import annotations

from paragone import InputError
from paragone_cli.arguments import Arguments

__all__ = ["checked_logprobs"]


def checked_logprobs(args: Arguments) -> int | None:
    """Return the number of alternatives to report, or None if the option is not set. Raises InputError."""
    if args.logprobs is None:
        return None
    if args.logprobs < 0:
        raise InputError(f"--logprobs cannot be {args.logprobs}.", hint="Use an integer of at least 0.")
    if not args.json:
        raise InputError("--logprobs needs --json.", hint="Only the JSON output contains log-probabilities.")
    return args.logprobs
