"""Make Token events from a piece of text and from log-probabilities that may not match this text exactly."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from paragone import Alternative, Token
from paragone.values.events import Channel
from paragone_remote.server_text import without_surrogates


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A token's text with its log-probability, as the server reports it."""

    text: str
    logprob: float
    id: int | None = None
    top: Sequence[Alternative] = ()


def tokens_of(
    text: str, scored: Sequence[Scored], *, channel: Channel, top: int, time: float
) -> Iterator[Token]:
    """Yield the tokens of `text`: one for each entry of `scored`, or a single one if there are no entries.

    If the texts of the entries do not add up to `text`, the last token has the whole text, so that the answer
    is always shown exactly.
    """
    text = without_surrogates(text)
    if not scored:
        yield Token(text=text, channel=channel, time=time)
        return
    exact = "".join(token.text for token in scored) == text
    for number, token in enumerate(scored, 1):
        ranked = sorted(token.top, key=lambda other: -other.logprob)[:top]
        yield Token(
            text=token.text if exact else text if number == len(scored) else "",
            channel=channel,
            id=token.id,
            logprob=token.logprob,
            top=tuple(dataclasses.replace(other, text=without_surrogates(other.text)) for other in ranked),
            time=time,
        )
