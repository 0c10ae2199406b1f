"""The option `--logprobs`."""

from __future__ import annotations

from paragone import InputError
from paragone_cli.arguments import Arguments

__all__ = ["checked_logprobs"]


def checked_logprobs(args: Arguments) -> int | None:
    """Return how many alternatives are to be reported, or None. Raises InputError."""
    if args.logprobs is None:
        return None
    if args.logprobs < 0:
        raise InputError(
            f"--logprobs cannot be {args.logprobs}.", hint="It takes a whole number of at least 0."
        )
    if not args.json:
        raise InputError("--logprobs needs --json.", hint="Log-probabilities are in the JSON alone.")
    return args.logprobs
