"""The numbered tokens of the server: each token has the number of its request and its index in the answer."""

from __future__ import annotations

import re

_FIRST = re.compile(r"q(\d+\.\d+)\.0\b")


def token(request: str, index: int) -> str:
    """Return a token; every eighth token ends a paragraph."""
    return f"q{request}.{index}" + ("\n\n" if index % 8 == 7 else " ")


def request_of(text: str) -> str | None:
    """Return the number of the request that a text answers; None if the text is no answer of this server."""
    found = _FIRST.match(text)
    return found[1] if found else None


def tokens_in(text: str, request: str) -> int | None:
    """Return how many tokens a text has; None if the text is not the beginning of the answer to this request."""
    index, rest = 0, text.rstrip()
    while rest:
        wanted = token(request, index)
        if not wanted.startswith(rest) and not rest.startswith(wanted):
            return None
        rest, index = rest[len(wanted) :], index + 1
    return index
