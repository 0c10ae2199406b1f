"""The tokens of a run as zlib-compressed JSON lines. Each line is a list of up to 200 tokens."""

from __future__ import annotations

import json
import zlib
from collections.abc import Sequence

from paragone import Alternative, Token

_LINE = (
    200  # tokens; a call of the JSON encoder or decoder blocks all other threads, so each call must be short
)


def pack(tokens: Sequence[Token]) -> bytes:
    """Return the tokens as bytes. `_row` defines the order of a token's fields."""
    lines = (tokens[start : start + _LINE] for start in range(0, len(tokens), _LINE))
    text = "\n".join(json.dumps(list(map(_row, line)), separators=(",", ":")) for line in lines)
    return zlib.compress(text.encode("ascii"))


def unpack(data: bytes) -> tuple[Token, ...]:
    """Return the tokens that `pack` has packed. Raises ValueError, among others, if the data is damaged."""
    try:
        text = zlib.decompress(data)
    except zlib.error as error:
        raise ValueError(str(error)) from error
    return tuple(
        Token(
            text=piece,
            channel=channel,
            id=token_id,
            logprob=logprob,
            n_bytes=n_bytes,
            time=time,
            top=tuple(
                Alternative(text=other, id=other_id, logprob=other_logprob)
                for other, other_id, other_logprob in top
            ),
        )
        for line in text.splitlines()
        for piece, channel, token_id, logprob, n_bytes, time, top in json.loads(line)
    )


def _row(token: Token) -> tuple[object, ...]:
    top = [(other.text, other.id, other.logprob) for other in token.top]
    return token.text, token.channel, token.id, token.logprob, token.n_bytes, token.time, top
