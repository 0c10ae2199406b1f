"""The tokens of a run as one compressed piece of JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence

from paragone import Alternative, Token

__all__ = ["pack", "unpack"]


def pack(tokens: Sequence[Token]) -> bytes:
    """Return the tokens as bytes: a list for each, in the order of the fields; one encoder call for all."""
    import zlib

    rows = [
        (
            token.text,
            token.channel,
            token.id,
            token.logprob,
            token.n_bytes,
            token.time,
            [(it.text, it.id, it.logprob) for it in token.top],
        )
        for token in tokens
    ]
    return zlib.compress(json.dumps(rows, separators=(",", ":")).encode("ascii"))


def unpack(data: bytes) -> list[Token]:
    """Return the tokens that `pack` made the bytes of."""
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
        for text, channel, token_id, logprob, n_bytes, time, top in json.loads(zlib.decompress(data))
    ]
