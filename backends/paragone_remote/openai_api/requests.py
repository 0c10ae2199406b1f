"""OpenAI's protocol with the field names of each server: bodies of requests, settings in force, and streamed answers (https://platform.openai.com/docs/api-reference)."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

import httpx
from httpx_sse import EventSource, ServerSentEvent

import paragone
from paragone import json_values
from paragone.options import describe
from paragone.shared_options import thinking_choice
from paragone_remote.answers import Scored, continues_answer, scored_tokens, set_options, unfinished_text
from paragone_remote.faults import FAULTS, read_object
from paragone_remote.openai_api import servers
from paragone_remote.options import OpenAISampling
from paragone_remote.transport import Refusal

_MOST_ALTERNATIVES = 20

_DIFFERENT_IN_COMPLETIONS = ("max_tokens", "thinking", "json_schema")
"""Options for which a chat and a completion have different fields. All other options are sent under their own names."""


def make_body(
    model: str, request: paragone.RunRequest, sampling: OpenAISampling, kind: servers.Kind, *, raw: bool
) -> dict[str, paragone.Json]:
    """Return the body of a chat, or of a completion of a text or token ids if `raw` is set. Raises InputError."""
    body: dict[str, paragone.Json] = {"model": model}
    if raw:
        # The default of max_tokens is 16 on many servers; null means as many as fit.
        body |= {"prompt": raw_prompt(request) or list(request.ids), "max_tokens": sampling.max_tokens}
    else:
        body |= _conversation(request, kind)
        if sampling.max_tokens is not None:
            body["max_tokens"] = sampling.max_tokens
        body |= _thinking(sampling, kind)
    for name, value in set_options(sampling).items():
        if name not in _DIFFERENT_IN_COMPLETIONS:
            body[kind.penalty if name == "repeat_penalty" else name] = value
    body["stream_options"] = {"include_usage": True}
    if kind.is_llama_server:
        body |= {"return_progress": True, "cache_prompt": not request.cold}
    if sampling.json_schema is not None:
        write = kind.schema_in_completion if raw else kind.schema_in_chat
        if write is None:
            raise paragone.InputError(
                f"{kind.subject} takes no JSON schema for plain text.",
                hint="Leave out the option json_schema, or raw.",
            )
        body |= write(json_values.read_schema(sampling.json_schema))
    if request.logprobs is not None:
        # For 0 alternatives, llama-server omits the token's own log-probability.
        count = min(max(request.logprobs, int(kind.is_llama_server)), _MOST_ALTERNATIVES)
        body |= {"logprobs": count} if raw else {"logprobs": True, "top_logprobs": count}
    return body


def _conversation(request: paragone.RunRequest, kind: servers.Kind) -> dict[str, paragone.Json]:
    given = request.messages[-1] if continues_answer(request) else None
    begins = given is not None and kind.name == "TabbyAPI"
    messages: list[paragone.Json] = []
    for message in request.messages[:-1] if begins else request.messages:
        turn: dict[str, paragone.Json] = {"role": message.role, "content": _content(message)}
        if message.thinking and "thinking" in kind.can:
            turn["reasoning_content"] = message.thinking
        messages.append(turn)
    body: dict[str, paragone.Json] = {"messages": messages}
    if given is not None and begins:
        body["response_prefix"] = unfinished_text(given)
    elif given is not None and "continues" in kind.can:
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    return body


def _thinking(sampling: OpenAISampling, kind: servers.Kind) -> dict[str, paragone.Json]:
    """Return a chat's fields for thinking. Raises InputError if the server accepts no budget for thinking."""
    chosen = thinking_choice(sampling.thinking)
    if chosen.effort is not None:
        return {"reasoning_effort": chosen.effort}
    if chosen.enabled is None:
        return {}
    fields: dict[str, paragone.Json] = {"chat_template_kwargs": {"enable_thinking": chosen.enabled}}
    if chosen.budget is None:
        return fields
    if not kind.budget:
        raise paragone.InputError(
            f"{kind.subject} takes no budget for thinking.",
            hint="The option thinking can be true, false, minimal, low, medium or high.",
        )
    return {**fields, kind.budget: chosen.budget}


def _content(message: paragone.Message) -> paragone.Json:
    """Return a message's text, or its parts: https://platform.openai.com/docs/guides/images-vision."""
    if not message.images:
        return message.text
    images: list[paragone.Json] = [
        {"type": "image_url", "image_url": {"url": f"data:{image.media_type};base64,{image.data}"}}
        for image in message.images
    ]
    return [*images, {"type": "text", "text": message.text}]


def raw_prompt(request: paragone.RunRequest) -> str:
    """Return the plain text that a completion continues: the text of the messages, if there are any."""
    return "\n\n".join(message.text for message in request.messages) or request.text


_ALWAYS_SENT = {"max_tokens", "temperature", "top_p", "stop", "ignore_eos", "json_schema"}
"""Options that change the answer too much to be left out: if a server refuses such an option, the run fails."""

EXTRAS = {
    **{info.name: info.name for info in describe(OpenAISampling) if info.name not in _ALWAYS_SENT},
    "repetition_penalty": "repeat_penalty",
    "chat_template_kwargs": "thinking",
    "reasoning_effort": "thinking",
    **{kind.budget: "thinking" for kind in servers.KINDS.values() if kind.budget},
    "logprobs": "log-probabilities",
    "top_logprobs": "log-probabilities",
    "stream_options": "",
    "return_progress": "",
    "timings_per_token": "",
    "cache_prompt": "",
    "continue_final_message": "continuing an answer",
    "add_generation_prompt": "",
    "response_prefix": "continuing an answer",
}
"""Fields that a server may refuse, with the names of their options. The name is empty for a field that this program adds."""

_LEARNS_FROM = {400, 422, 500, 501}
"""HTTP statuses with which servers refuse a field: 500 is that of llama-cpp-python without log-probabilities."""

_TOGETHER = {"logprobs": {"top_logprobs"}, "top_logprobs": {"logprobs"}}


class RefusedFields(set[str]):
    def without_refused(self, body: Mapping[str, paragone.Json]) -> dict[str, paragone.Json]:
        return {name: value for name, value in body.items() if name not in self}

    def learn(self, refusal: Refusal, body: Mapping[str, paragone.Json]) -> bool:
        if refusal.status not in _LEARNS_FROM:
            return False
        sent = [name for name in EXTRAS if name in body]
        named = {name for name in sent if re.search(rf"\b{name}\b", refusal.body)}
        for name in tuple(named):
            named |= _TOGETHER.get(name, set())
        self.update(named)
        return bool(named)

    def left_out(self, body: Mapping[str, paragone.Json]) -> list[str]:
        return sorted({EXTRAS[name] for name in body if name in self} - {""})


def settings_of(
    sampling: OpenAISampling, server: servers.ServerProperties, refused_fields: RefusedFields, *, raw: bool
) -> paragone.RunSettings:
    sent = set_options(sampling)
    for name in refused_fields.left_out(dict.fromkeys(EXTRAS)):
        sent.pop(name, None)
    if raw:
        sent.setdefault("max_tokens", None)  # sent as null, which means as many tokens as fit
        sent.pop("thinking", None)  # the option thinking applies to chats only
    seed = sampling.seed if "seed" in sent and "seeds" in server.kind.can else None
    return paragone.RunSettings(seed=seed, sampling={**server.defaults, **sent} or None)


class StreamPart(NamedTuple):
    answer: str
    thinking: str = ""
    scored: tuple[Scored, ...] = ()


@dataclass(slots=True)
class StreamedAnswer:
    model: str = ""
    fingerprint: str = ""
    began: bool = False
    scored: bool = False
    held: tuple[Scored, ...] = ()
    """Log-probabilities whose text has not arrived yet."""
    reason: str = ""
    """The `finish_reason` of the protocol; empty while the answer continues."""
    timings: paragone.Timings = field(default_factory=paragone.Timings)
    usage: paragone.Usage = field(default_factory=paragone.Usage)

    def take(self, chunk: json_values.JsonObject, *, raw: bool) -> StreamPart:
        choice = next(iter(json_values.objects_at(chunk, "choices")), {})
        part = _completion_part(choice) if raw else _chat_part(choice)
        self.model = json_values.text_at(chunk, "model") or self.model
        self.fingerprint = json_values.text_at(chunk, "system_fingerprint") or self.fingerprint
        self.began = self.began or bool(part.answer or part.thinking)
        self.scored = self.scored or bool(part.scored)
        self.reason = json_values.text_at(choice, "finish_reason") or self.reason
        if usage := json_values.object_at(chunk, "usage"):
            self.usage = replace(
                self.usage,
                prompt_tokens=json_values.count_at(usage, "prompt_tokens"),
                cached_tokens=json_values.count_at(usage, "prompt_tokens_details", "cached_tokens"),
                completion_tokens=json_values.count_at(usage, "completion_tokens"),
            )
        if timings := json_values.object_at(chunk, "timings"):
            self.timings = paragone.Timings(
                prefill_s=json_values.duration_at(timings, "prompt_ms", unit=1e-3),
                decode_s=json_values.duration_at(timings, "predicted_ms", unit=1e-3),
            )
            # The counts of speculative decoding may arrive in another chunk than the other counts.
            if (drafted := json_values.count_at(timings, "draft_n")) is not None:
                accepted = json_values.count_at(timings, "draft_n_accepted")
                self.usage = replace(self.usage, drafted_tokens=drafted, accepted_tokens=accepted)
        return part


def progress_in(chunk: json_values.JsonObject, now: float) -> paragone.PromptProgress | None:
    progress = json_values.object_at(chunk, "prompt_progress")
    done, total, cached = (json_values.count_at(progress, name) for name in ("processed", "total", "cache"))
    if done is None or total is None:
        return None
    return paragone.PromptProgress(done=done, total=total, cached=cached or 0, time=now)


def _chat_part(choice: json_values.JsonObject) -> StreamPart:
    """Parse the text of an answer in a chunk of a chat: https://platform.openai.com/docs/api-reference/chat-streaming."""
    delta = json_values.object_at(choice, "delta")
    return StreamPart(
        answer=json_values.text_at(delta, "content"),
        # vLLM and SGLang have used both of these names; llama-server, TabbyAPI and DeepSeek use reasoning_content
        thinking=json_values.text_at(delta, "reasoning_content") or json_values.text_at(delta, "reasoning"),
        scored=tuple(scored_tokens(json_values.objects_at(choice, "logprobs", "content")))
        if "logprobs" in choice
        else (),
    )


def _completion_part(choice: json_values.JsonObject) -> StreamPart:
    """Parse the text of a completion's chunk: https://platform.openai.com/docs/api-reference/completions."""
    logprobs = json_values.object_at(choice, "logprobs")
    # llama-server uses the format of a chat in completions too
    scored = (
        scored_tokens(json_values.objects_at(logprobs, "content"))
        if "content" in logprobs
        else _scored_in_columns(logprobs)
    )
    return StreamPart(answer=json_values.text_at(choice, "text"), scored=tuple(scored))


def _scored_in_columns(logprobs: json_values.JsonObject) -> Iterator[Scored]:
    columns = [logprobs.get(name) for name in ("tokens", "token_logprobs", "top_logprobs")]
    tokens, values, others = (column if isinstance(column, list) else [] for column in columns)
    for place, (token, value) in enumerate(zip(tokens, values, strict=False)):
        logprob = json_values.number_at(value)
        if not isinstance(token, str) or logprob is None:
            continue  # the first token of a text has no log-probability
        row = others[place] if place < len(others) else None
        top = [
            paragone.Alternative(text=other, logprob=likelihood)
            for other, found in (row.items() if isinstance(row, dict) else ())
            if (likelihood := json_values.number_at(found)) is not None
        ]
        yield Scored(text=token, logprob=logprob, top=top)


_NOT_THE_PROTOCOL = "data that is not valid in OpenAI's protocol"

_END_PATIENCE = 1.0


async def streamed(
    http: httpx.AsyncClient, path: str, body: Mapping[str, paragone.Json], *, hangs_up: bool
) -> AsyncGenerator[json_values.JsonObject, None]:
    """Yield the parts of a streamed answer. `hangs_up`: the server closes the connection in spite of its keep-alive."""
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


async def repeat_for_error(http: httpx.AsyncClient, path: str, body: Mapping[str, paragone.Json]) -> None:
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
