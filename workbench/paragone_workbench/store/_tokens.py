"""The tokens of a run as compressed JSON: a line for every few hundred, on it a list for each token."""

from __future__ import annotations

import json
from collections.abc import Sequence

from paragone import Alternative, Token

__all__ = ["pack", "unpack"]

_LINE = 200  # tokens; Python's encoder and decoder keep all other threads waiting for a whole call


def pack(tokens: Sequence[Token]) -> bytes:
    """Return the tokens as bytes, their fields in the order of `_row`."""
    import zlib

    lines = (tokens[start : start + _LINE] for start in range(0, len(tokens), _LINE))
    text = "\n".join(json.dumps(list(map(_row, line)), separators=(",", ":")) for line in lines)
    return zlib.compress(text.encode("ascii"))


def unpack(data: bytes) -> list[Token]:
    """Return the tokens that were packed: the inverse of `pack`."""
    import zlib

    return [
        Token(
            text=text,
            channel=channel,
            id=token_id,
            logprob=logprob,
            n_bytes=n_bytes,
            time=time,
            top=tuple(Alternative(text=other, id=other_id, logprob=its) for other, other_id, its in top),
        )
        for line in zlib.decompress(data).splitlines()
        for text, channel, token_id, logprob, n_bytes, time, top in json.loads(line)
    ]


def _row(token: Token) -> tuple[object, ...]:
    top = [(it.text, it.id, it.logprob) for it in token.top]
    return token.text, token.channel, token.id, token.logprob, token.n_bytes, token.time, top
