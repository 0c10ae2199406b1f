"""Streams of OpenAI's protocol: https://platform.openai.com/docs/api-reference. The fields of a chunk differ between servers."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import httpx
from httpx_sse import EventSource, ServerSentEvent

from paragone import Alternative, Json, PromptProgress, Timings, Usage
from paragone.json_values import JsonObject, count_at, duration_at, number_at, object_at, objects_at, text_at
from paragone_remote.answers import Scored, scored_tokens
from paragone_remote.faults import FAULTS, read_object


class StreamPart(NamedTuple):
    answer: str
    thinking: str = ""
    scored: tuple[Scored, ...] = ()


@dataclass(slots=True)
class StreamedAnswer:
    """The state of an answer, apart from its text."""

    model: str = ""
    """The model that answers, as the server names it."""
    fingerprint: str = ""
    """The `system_fingerprint` of the protocol."""
    began: bool = False
    scored: bool = False
    held: tuple[Scored, ...] = ()
    """Log-probabilities whose text has not arrived yet."""
    reason: str = ""
    """The `finish_reason` of the protocol; empty while the answer continues."""
    timings: Timings = field(default_factory=Timings)
    usage: Usage = field(default_factory=Usage)

    def take(self, chunk: JsonObject, *, raw: bool) -> StreamPart:
        """Update the state from a chunk, and return the text of the chunk. `raw`: whether this is a completion of a text.

        `timings` are llama-server's.
        """
        choice = next(iter(objects_at(chunk, "choices")), {})
        part = _completion_part(choice) if raw else _chat_part(choice)
        self.model = text_at(chunk, "model") or self.model
        self.fingerprint = text_at(chunk, "system_fingerprint") or self.fingerprint
        self.began = self.began or bool(part.answer or part.thinking)
        self.scored = self.scored or bool(part.scored)
        self.reason = text_at(choice, "finish_reason") or self.reason
        if usage := object_at(chunk, "usage"):
            self.usage = replace(
                self.usage,
                prompt_tokens=count_at(usage, "prompt_tokens"),
                cached_tokens=count_at(usage, "prompt_tokens_details", "cached_tokens"),
                completion_tokens=count_at(usage, "completion_tokens"),
            )
        if timings := object_at(chunk, "timings"):
            self.timings = Timings(
                prefill_s=duration_at(timings, "prompt_ms", unit=1e-3),
                decode_s=duration_at(timings, "predicted_ms", unit=1e-3),
            )
            # The counts of speculative decoding may arrive in another chunk than the other counts.
            if (drafted := count_at(timings, "draft_n")) is not None:
                accepted = count_at(timings, "draft_n_accepted")
                self.usage = replace(self.usage, drafted_tokens=drafted, accepted_tokens=accepted)
        return part


def progress_in(chunk: JsonObject, now: float) -> PromptProgress | None:
    """Return llama-server's `prompt_progress`; None if the chunk has none."""
    if progress := object_at(chunk, "prompt_progress"):
        done, total = count_at(progress, "processed"), count_at(progress, "total")
        if done is not None and total is not None:
            return PromptProgress(done=done, total=total, cached=count_at(progress, "cache") or 0, time=now)
    return None


def _chat_part(choice: JsonObject) -> StreamPart:
    """Parse the text of an answer in a chunk of a chat: https://platform.openai.com/docs/api-reference/chat-streaming."""
    delta = object_at(choice, "delta")
    return StreamPart(
        answer=text_at(delta, "content"),
        # vLLM and SGLang have used both of these names; llama-server, TabbyAPI and DeepSeek use reasoning_content
        thinking=text_at(delta, "reasoning_content") or text_at(delta, "reasoning"),
        scored=tuple(scored_tokens(objects_at(choice, "logprobs", "content")))
        if "logprobs" in choice
        else (),
    )


def _completion_part(choice: JsonObject) -> StreamPart:
    """Parse the text of a completion's chunk: https://platform.openai.com/docs/api-reference/completions."""
    logprobs = object_at(choice, "logprobs")
    # llama-server uses the format of a chat in completions too
    scored = (
        scored_tokens(objects_at(logprobs, "content"))
        if "content" in logprobs
        else _scored_in_columns(logprobs)
    )
    return StreamPart(answer=text_at(choice, "text"), scored=tuple(scored))


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


_NOT_THE_PROTOCOL = "data that is not valid in OpenAI's protocol"

_END_PATIENCE = 1.0
"""Seconds to wait for the end of a reply after its last event."""


async def streamed(
    http: httpx.AsyncClient, path: str, body: Mapping[str, Json], *, hangs_up: bool
) -> AsyncGenerator[JsonObject, None]:
    """Yield the parts of a streamed answer, each a JSON object. Raises the exceptions in `faults.FAULTS`.

    `hangs_up` says that the server closes the connection after a stream, although the server announces keep-alive.
    """
    # A request is lost if it is sent on a connection that the server has closed unnoticed.
    headers = {"Connection": "close"} if hangs_up else {}
    async with http.stream("POST", path, json={**body, "stream": True}, headers=headers) as reply:
        # httpx-sse requires the media type of the protocol, which some servers do not send.
        reply.headers["content-type"] = "text/event-stream"
        async with contextlib.aclosing(EventSource(reply).aiter_sse()) as events:
            async for event in events:
                if event.data.startswith("[DONE]"):
                    await _read_to_end(events)
                    return
                yield read_object(event.data, invalid=_NOT_THE_PROTOCOL)


async def repeat_for_error(http: httpx.AsyncClient, path: str, body: Mapping[str, Json]) -> None:
    """Repeat a failed request without a stream and for one token, to get the error that the stream did not report."""
    short = {name: value for name, value in body.items() if name != "stream_options"} | {"max_tokens": 1}
    try:
        await http.post(path, json=short)
    except (httpx.ReadError, httpx.RemoteProtocolError):
        # the server was about to close the connection of the failed stream
        await http.post(path, json=short)


async def _read_to_end(events: AsyncGenerator[ServerSentEvent, None]) -> None:
    """Read the rest of a complete answer, so that the next request can use its connection."""
    with contextlib.suppress(TimeoutError, *FAULTS):
        async with asyncio.timeout(_END_PATIENCE):
            async for _ in events:
                pass
