"""Parse the parts of a streamed answer: https://docs.ollama.com/api/chat."""

from __future__ import annotations

from collections.abc import Iterator

import ollama

from paragone import Alternative, Finish, FinishReason, Timings, Token, Usage
from paragone_remote.json_fields import counted, duration, finite
from paragone_remote.token_events import Scored, tokens_of

__all__ = ["NANO", "read_finish", "read_tokens"]

NANO = 1e-9
"""The unit of Ollama's durations, in seconds."""


def read_tokens(part: ollama.ChatResponse, logprobs: int | None, now: float) -> Iterator[Token]:
    """Yield the tokens of a part, with `logprobs` alternatives each."""
    thinking, answer = part.message.thinking, part.message.content
    scored = [
        Scored(
            text=entry.token,
            logprob=entry.logprob,
            top=[
                Alternative(text=other.token, logprob=other.logprob)
                for other in entry.top_logprobs or ()
                if finite(other.logprob) is not None
            ],
        )
        for entry in (part.logprobs or () if logprobs is not None else ())
        if finite(entry.logprob) is not None
    ]
    if thinking:
        yield from tokens_of(
            thinking, () if answer else scored, channel="thinking", top=logprobs or 0, time=now
        )
    if answer or (scored and not thinking):
        yield from tokens_of(answer or "", scored, channel="answer", top=logprobs or 0, time=now)


def read_finish(part: ollama.ChatResponse, now: float) -> Finish:
    """Return the Finish event from the last part."""
    reason: FinishReason = "length" if part.done_reason == "length" else "stop"
    return Finish(
        reason=reason,
        usage=Usage(
            prompt_tokens=counted(part.prompt_eval_count), completion_tokens=counted(part.eval_count)
        ),
        timings=Timings(
            prefill_s=duration(part.prompt_eval_duration, unit=NANO),
            decode_s=duration(part.eval_duration, unit=NANO),
        ),
        time=now,
    )
