"""Log-probabilities of tokens in the two forms of the OpenAI API."""

from __future__ import annotations

from collections.abc import Sequence

from paragone import Json, Token


def chat_logprobs(tokens: Sequence[Token]) -> Json:
    """Return the log-probabilities of a chat: a list of tokens, each with its alternatives. Thinking is left out."""
    content = [
        {
            **_entry(token.text, token.logprob),
            "top_logprobs": [_entry(other.text, other.logprob) for other in token.top],
        }
        for token in tokens
        if token.channel == "answer"
    ]
    return {"content": content, "refusal": None}


def completion_logprobs(tokens: Sequence[Token], offset: int) -> Json:
    """Return the log-probabilities of a completion: parallel lists. `offset` is the index of the first token in the whole text."""
    offsets: list[int] = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [_table(token) for token in tokens],
        "text_offset": offsets,
    }


def _entry(text: str, logprob: float | None) -> dict[str, Json]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode("utf-8", "replace"))}


def _table(token: Token) -> Json:
    """Return the log-probabilities of the token and of the likeliest tokens; null if the token has no log-probability.

    The token's text is the same as in the list of tokens, so that a client sees whether the token is the likeliest.
    """
    if token.logprob is None:
        return None
    table: dict[str, Json] = {}
    for other in token.top:
        is_same = token.id is not None and other.id == token.id
        table.setdefault(token.text if is_same else other.text, other.logprob)
    table.setdefault(token.text, token.logprob)
    return table
