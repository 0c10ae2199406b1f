"""Parse the parts of a streamed answer: https://docs.ollama.com/api/chat."""

from __future__ import annotations

from collections.abc import Iterator

from paragone import Alternative, Finish, FinishReason, Timings, Token, Usage
from paragone_remote.answers.token_events import Scored, tokens_of
from paragone_remote.json_fields import Data, count, duration, items, number, part, text

__all__ = ["NANO", "read_finish", "read_tokens"]

NANO = 1e-9
"""The unit of Ollama's durations, in seconds."""


def read_tokens(chunk: Data, logprobs: int | None, now: float) -> Iterator[Token]:
    """Yield the tokens of a part, with `logprobs` alternatives each."""
    message = part(chunk, "message")
    thinking, answer = text(message, "thinking"), text(message, "content")
    scored = [
        Scored(
            text=text(entry, "token"),
            logprob=logprob,
            top=[
                Alternative(text=text(other, "token"), logprob=value)
                for other in items(entry, "top_logprobs")
                if (value := number(other, "logprob")) is not None
            ],
        )
        for entry in (items(chunk, "logprobs") if logprobs is not None else ())
        if (logprob := number(entry, "logprob")) is not None
    ]
    if thinking:
        yield from tokens_of(
            thinking, () if answer else scored, channel="thinking", top=logprobs or 0, time=now
        )
    if answer or (scored and not thinking):
        yield from tokens_of(answer, scored, channel="answer", top=logprobs or 0, time=now)


def read_finish(chunk: Data, now: float) -> Finish:
    """Return the Finish event from the last part."""
    reason: FinishReason = "length" if chunk.get("done_reason") == "length" else "stop"
    return Finish(
        reason=reason,
        usage=Usage(
            prompt_tokens=count(chunk, "prompt_eval_count"), completion_tokens=count(chunk, "eval_count")
        ),
        timings=Timings(
            prefill_s=duration(chunk.get("prompt_eval_duration"), unit=NANO),
            decode_s=duration(chunk.get("eval_duration"), unit=NANO),
        ),
        time=now,
    )
