"""Parse the chunks of a streamed answer. Servers differ in their fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from paragone import Alternative, PromptProgress, Timings, Usage
from paragone_remote.answers.token_events import Scored
from paragone_remote.json_fields import Data, count, duration, finite, items, number, part, text


@dataclass(slots=True, kw_only=True)
class Part:
    """The contents of one chunk."""

    model: str = ""
    """The model that answers, as the server names it."""
    fingerprint: str = ""
    """The `system_fingerprint` of the protocol."""
    answer: str = ""
    thinking: str = ""
    scored: tuple[Scored, ...] = ()
    reason: str = ""
    """The `finish_reason` of the protocol; empty while the answer continues."""
    usage: Mapping[str, int | None] = field(default_factory=dict)
    """The fields of `Usage` that the chunk has."""
    timings: Timings | None = None
    progress: PromptProgress | None = None


@dataclass(slots=True)
class StreamedAnswer:
    """The state of an answer, apart from its text."""

    model: str = ""
    fingerprint: str = ""
    began: bool = False
    scored: bool = False
    held: tuple[Scored, ...] = ()
    """Log-probabilities whose text has not arrived yet."""
    reason: str = ""
    timings: Timings = field(default_factory=Timings)
    usage: Usage = field(default_factory=Usage)

    def take(self, part: Part) -> None:
        """Update the state from a part."""
        self.model = part.model or self.model
        self.fingerprint = part.fingerprint or self.fingerprint
        self.began = self.began or bool(part.answer or part.thinking)
        self.scored = self.scored or bool(part.scored)
        self.reason = part.reason or self.reason
        # The counts of speculative decoding may arrive in another part of the stream than the others.
        if part.usage:
            self.usage = replace(self.usage, **part.usage)
        self.timings = part.timings or self.timings


def read_chat(chunk: Data, now: float) -> Part:
    """Parse a chunk of a chat: https://platform.openai.com/docs/api-reference/chat-streaming."""
    read = _read(chunk, now)
    for choice in items(chunk, "choices"):
        delta = part(choice, "delta")
        read.answer = text(delta, "content")
        # vLLM and SGLang have used both names; llama-server, TabbyAPI and DeepSeek use the first
        read.thinking = text(delta, "reasoning_content") or text(delta, "reasoning")
        read.reason = text(choice, "finish_reason")
        if "logprobs" in choice:
            read.scored = tuple(scored_tokens(part(choice, "logprobs")))
        break
    return read


def read_completion(chunk: Data, now: float) -> Part:
    """Parse a chunk of a completion: https://platform.openai.com/docs/api-reference/completions."""
    read = _read(chunk, now)
    for choice in items(chunk, "choices"):
        read.answer = text(choice, "text")
        read.reason = text(choice, "finish_reason")
        if "logprobs" in choice:
            logprobs = part(choice, "logprobs")
            # llama-server uses the format of the chat here too
            scored = scored_tokens if "content" in logprobs else _scored_in_columns
            read.scored = tuple(scored(logprobs))
        break
    return read


def _read(chunk: Data, now: float) -> Part:
    """Parse the fields other than the text.

    `timings` and `prompt_progress` are llama-server's, in milliseconds.
    """
    read = Part(model=text(chunk, "model"), fingerprint=text(chunk, "system_fingerprint"))
    if usage := part(chunk, "usage"):
        read.usage = {
            "prompt_tokens": count(usage, "prompt_tokens"),
            "cached_tokens": count(part(usage, "prompt_tokens_details"), "cached_tokens"),
            "completion_tokens": count(usage, "completion_tokens"),
        }
    if timings := part(chunk, "timings"):
        read.timings = Timings(
            prefill_s=duration(timings.get("prompt_ms"), unit=1e-3),
            decode_s=duration(timings.get("predicted_ms"), unit=1e-3),
        )
        if (drafted := count(timings, "draft_n")) is not None:
            accepted = count(timings, "draft_n_accepted")
            read.usage = {**read.usage, "drafted_tokens": drafted, "accepted_tokens": accepted}
    progress = part(chunk, "prompt_progress")
    done, total = count(progress, "processed"), count(progress, "total")
    if done is not None and total is not None:
        cached = count(progress, "cache") or 0
        read.progress = PromptProgress(done=done, total=total, cached=cached, time=now)
    return read


def scored_tokens(logprobs: Data) -> Iterator[Scored]:
    """Parse tokens with their log-probabilities in the format of a chat."""
    for entry in items(logprobs, "content"):
        logprob = number(entry, "logprob")
        if logprob is None:
            continue
        top = [
            Alternative(text=text(other, "token"), id=count(other, "id"), logprob=value)
            for other in items(entry, "top_logprobs")
            if (value := number(other, "logprob")) is not None
        ]
        # only llama-server sends ids
        yield Scored(text=text(entry, "token"), id=count(entry, "id"), logprob=logprob, top=top)


def _scored_in_columns(logprobs: Data) -> Iterator[Scored]:
    columns = [logprobs.get(name) for name in ("tokens", "token_logprobs", "top_logprobs")]
    tokens, values, others = (column if isinstance(column, list) else [] for column in columns)
    for place, (token, value) in enumerate(zip(tokens, values, strict=False)):
        logprob = finite(value)
        if not isinstance(token, str) or logprob is None:
            continue  # the first token of a text has no log-probability
        row = others[place] if place < len(others) else None
        top = [
            Alternative(text=other, logprob=likelihood)
            for other, found in (row.items() if isinstance(row, dict) else ())
            if (likelihood := finite(found)) is not None
        ]
        yield Scored(text=token, logprob=logprob, top=top)
