"""Parse the chunks of a streamed answer. Servers differ in their fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace

from paragone import Alternative, PromptProgress, Timings, Usage
from paragone.json_fields import JsonObject, count_at, duration_at, number_at, object_at, objects_at, text_at
from paragone_remote.answers.token_events import Scored


@dataclass(slots=True, kw_only=True)
class StreamPart:
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

    def take(self, part: StreamPart) -> None:
        """Update the state from a part."""
        self.model = part.model or self.model
        self.fingerprint = part.fingerprint or self.fingerprint
        self.began = self.began or bool(part.answer or part.thinking)
        self.scored = self.scored or bool(part.scored)
        self.reason = part.reason or self.reason
        # The counts of speculative decoding may arrive in another part of the stream than the other counts.
        if part.usage:
            self.usage = replace(self.usage, **part.usage)
        self.timings = part.timings or self.timings


def read_chat(chunk: JsonObject, now: float) -> StreamPart:
    """Parse a chunk of a chat: https://platform.openai.com/docs/api-reference/chat-streaming."""
    read = _read(chunk, now)
    for choice in objects_at(chunk, "choices"):
        delta = object_at(choice, "delta")
        read.answer = text_at(delta, "content")
        # vLLM and SGLang have used both names; llama-server, TabbyAPI and DeepSeek use the first
        read.thinking = text_at(delta, "reasoning_content") or text_at(delta, "reasoning")
        read.reason = text_at(choice, "finish_reason")
        if "logprobs" in choice:
            read.scored = tuple(scored_tokens(object_at(choice, "logprobs")))
        break
    return read


def read_completion(chunk: JsonObject, now: float) -> StreamPart:
    """Parse a chunk of a completion: https://platform.openai.com/docs/api-reference/completions."""
    read = _read(chunk, now)
    for choice in objects_at(chunk, "choices"):
        read.answer = text_at(choice, "text")
        read.reason = text_at(choice, "finish_reason")
        if "logprobs" in choice:
            logprobs = object_at(choice, "logprobs")
            # llama-server uses the format of a chat in completions too
            scored = scored_tokens if "content" in logprobs else _scored_in_columns
            read.scored = tuple(scored(logprobs))
        break
    return read


def _read(chunk: JsonObject, now: float) -> StreamPart:
    """Parse the fields other than the text.

    `timings` and `prompt_progress` are llama-server's, in milliseconds.
    """
    read = StreamPart(model=text_at(chunk, "model"), fingerprint=text_at(chunk, "system_fingerprint"))
    if usage := object_at(chunk, "usage"):
        read.usage = {
            "prompt_tokens": count_at(usage, "prompt_tokens"),
            "cached_tokens": count_at(usage, "prompt_tokens_details", "cached_tokens"),
            "completion_tokens": count_at(usage, "completion_tokens"),
        }
    if timings := object_at(chunk, "timings"):
        read.timings = Timings(
            prefill_s=duration_at(timings, "prompt_ms", unit=1e-3),
            decode_s=duration_at(timings, "predicted_ms", unit=1e-3),
        )
        if (drafted := count_at(timings, "draft_n")) is not None:
            accepted = count_at(timings, "draft_n_accepted")
            read.usage = {**read.usage, "drafted_tokens": drafted, "accepted_tokens": accepted}
    if progress := object_at(chunk, "prompt_progress"):
        done, total = count_at(progress, "processed"), count_at(progress, "total")
        if done is not None and total is not None:
            cached = count_at(progress, "cache") or 0
            read.progress = PromptProgress(done=done, total=total, cached=cached, time=now)
    return read


def scored_tokens(logprobs: JsonObject) -> Iterator[Scored]:
    """Parse tokens with their log-probabilities in the format of a chat."""
    for entry in objects_at(logprobs, "content"):
        logprob = number_at(entry, "logprob")
        if logprob is None:
            continue
        top = [
            Alternative(text=text_at(other, "token"), id=count_at(other, "id"), logprob=value)
            for other in objects_at(entry, "top_logprobs")
            if (value := number_at(other, "logprob")) is not None
        ]
        # only llama-server sends ids
        yield Scored(text=text_at(entry, "token"), id=count_at(entry, "id"), logprob=logprob, top=top)


def _scored_in_columns(logprobs: JsonObject) -> Iterator[Scored]:
    columns = [logprobs.get(name) for name in ("tokens", "token_logprobs", "top_logprobs")]
    tokens, values, others = (column if isinstance(column, list) else [] for column in columns)
    for place, (token, value) in enumerate(zip(tokens, values, strict=False)):
        logprob = number_at(value)
        if not isinstance(token, str) or logprob is None:
            continue  # the first token of a text has no log-probability
        row = others[place] if place < len(others) else None
        top = [
            Alternative(text=other, logprob=likelihood)
            for other, found in (row.items() if isinstance(row, dict) else ())
            if (likelihood := number_at(found)) is not None
        ]
        yield Scored(text=token, logprob=logprob, top=top)
