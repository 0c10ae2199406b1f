"""Make Token events from a piece of text and from log-probabilities that may not match this text exactly."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from paragone import Alternative, Channel, Token
from paragone.json_fields import JsonObject, count_at, number_at, objects_at, text_at
from paragone_remote.server_text import without_surrogates


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A token's text with its log-probability, as the server reports it."""

    text: str
    logprob: float
    id: int | None = None
    top: Sequence[Alternative] = ()


def scored_tokens(entries: Iterable[JsonObject]) -> Iterator[Scored]:
    """Parse tokens with their log-probabilities. OpenAI's chats and Ollama have the same fields; only llama-server sends ids."""
    for entry in entries:
        if (logprob := number_at(entry, "logprob")) is None:
            continue
        top = [
            Alternative(text=text_at(other, "token"), id=count_at(other, "id"), logprob=value)
            for other in objects_at(entry, "top_logprobs")
            if (value := number_at(other, "logprob")) is not None
        ]
        yield Scored(text=text_at(entry, "token"), id=count_at(entry, "id"), logprob=logprob, top=top)


def tokens_of(
    answer: str, scored: Sequence[Scored], *, thinking: str = "", top: int, time: float
) -> Iterator[Token]:
    """Yield the tokens of a piece of thinking, and of the answer's text after it.

    `scored` belongs to the answer's text, or to the thinking if `answer` is empty. Each entry of `scored` becomes a token
    with at most `top` alternatives. A text without entries becomes one token.
    """
    if thinking:
        yield from _tokens(thinking, () if answer else scored, "thinking", top, time)
    if answer or (scored and not thinking):
        yield from _tokens(answer, scored, "answer", top, time)


def _tokens(text: str, scored: Sequence[Scored], channel: Channel, top: int, time: float) -> Iterator[Token]:
    """Yield the tokens of a text of one channel.

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
