"""OpenAI's protocol with the field names of each server: bodies of requests, active settings, and streamed answers
(https://platform.openai.com/docs/api-reference)."""

from __future__ import annotations

import asyncio
import contextlib
import re
from collections.abc import AsyncGenerator, Iterator, Set
from dataclasses import dataclass, field, replace

import httpx
from httpx_sse import EventSource, ServerSentEvent

import paragone
from paragone import json_values as values
from paragone.json_values import JsonObject
from paragone.options import describe
from paragone.shared_options import thinking_choice
from paragone_remote import answers
from paragone_remote import openai_servers as servers
from paragone_remote.faults import FAULTS, read_object, reported_failure
from paragone_remote.options import OpenAISampling
from paragone_remote.transport import Refusal

_MOST_ALTERNATIVES = 20

_DIFFERENT_IN_COMPLETIONS = ("max_tokens", "thinking", "json_schema")
"""Options for which a chat and a completion have different fields. All other options are sent under their own names."""


def make_body(
    model: str, request: paragone.RunRequest, sampling: OpenAISampling, kind: servers.ServerKind, *, raw: bool
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
    for name, value in answers.explicit_options(sampling).items():
        if name not in _DIFFERENT_IN_COMPLETIONS:
            body[kind.penalty if name == "repeat_penalty" else name] = value
    body["stream_options"] = {"include_usage": True}
    if kind.is_llama_server:
        body |= {"return_progress": True, "cache_prompt": not request.cold}
    if sampling.json_schema is not None:
        write = kind.schema_in_completion if raw else kind.schema_in_chat
        if write is None:
            raise paragone.InputError(
                f"{kind.subject} does not support a JSON schema for plain text.",
                hint="Remove the option json_schema, or raw.",
            )
        body |= write(values.read_schema(sampling.json_schema))
    if request.logprobs is not None:
        # For 0 alternatives, llama-server omits the token's own log-probability.
        count = min(max(request.logprobs, int(kind.is_llama_server)), _MOST_ALTERNATIVES)
        body |= {"logprobs": count} if raw else {"logprobs": True, "top_logprobs": count}
    return body


def _conversation(request: paragone.RunRequest, kind: servers.ServerKind) -> dict[str, paragone.Json]:
    given = request.messages[-1] if answers.continues_answer(request) else None
    begins = given is not None and kind.name == "TabbyAPI"
    messages: list[paragone.Json] = []
    for message in request.messages[:-1] if begins else request.messages:
        turn: dict[str, paragone.Json] = {"role": message.role, "content": _content(message)}
        if message.thinking and "thinking" in kind.can:
            turn["reasoning_content"] = message.thinking
        messages.append(turn)
    body: dict[str, paragone.Json] = {"messages": messages}
    if given is not None and begins:
        body["response_prefix"] = answers.unfinished_text(given)
    elif given is not None and "continues" in kind.can:
        body |= {"continue_final_message": True, "add_generation_prompt": False}
    return body


def _thinking(sampling: OpenAISampling, kind: servers.ServerKind) -> dict[str, paragone.Json]:
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
            f"{kind.subject} does not support a budget for thinking.",
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
"""Options that change the answer too much to be omitted: if a server refuses one, the run fails."""

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

OF_TEMPLATE = ("chat_template_kwargs", "reasoning_effort", "continue_final_message", "add_generation_prompt")
"""Fields of a chat that affect the prompt which a template renders."""

_LEARNS_FROM = {400, 422, 500, 501}
"""HTTP statuses with which servers refuse a field: llama-cpp-python without log-probabilities sends 500."""

_TOGETHER = {"logprobs": {"top_logprobs"}, "top_logprobs": {"logprobs"}}


def refused_in(refusal: Refusal, body: JsonObject) -> set[str]:
    """Return the fields of a body that a refusal names."""
    if refusal.status not in _LEARNS_FROM:
        return set()
    named = {name for name in EXTRAS if name in body and re.search(rf"\b{name}\b", refusal.body)}
    return named.union(*(_TOGETHER.get(name, set()) for name in named))


def omitted_options(body: JsonObject, refused: Set[str]) -> list[str]:
    """Return the options whose fields of a body the server has refused."""
    return sorted({EXTRAS[name] for name in body if name in refused} - {""})


def settings_of(
    sampling: OpenAISampling, server: servers.ServerProperties, refused: Set[str], *, raw: bool
) -> paragone.RunSettings:
    sent = answers.explicit_options(sampling)
    for name in omitted_options(dict.fromkeys(EXTRAS), refused):
        sent.pop(name, None)
    if raw:
        sent.setdefault("max_tokens", None)  # sent as null, which means as many tokens as fit
        sent.pop("thinking", None)  # the option thinking applies only to chats
    seed = sampling.seed if "seed" in sent and "seeds" in server.kind.can else None
    return paragone.RunSettings(seed=seed, sampling={**server.defaults, **sent} or None)


@dataclass(slots=True)
class StreamedAnswer:
    raw: bool
    """Whether the answer is a completion, not a chat."""
    logprobs: int | None
    """Number of alternatives to each token; None for no log-probabilities."""
    began: bool = False
    scored: bool = False
    reason: str = ""
    """The `finish_reason` of the protocol; empty while the answer continues."""
    timings: paragone.Timings = field(default_factory=paragone.Timings)
    usage: paragone.Usage = field(default_factory=paragone.Usage)
    _held: tuple[paragone.Token, ...] = ()
    """Log-probabilities whose text has not arrived yet."""

    def take(self, chunk: JsonObject, now: float) -> Iterator[paragone.Token]:
        """Add the next part of the answer, and yield its tokens."""
        choice = next(iter(values.objects_at(chunk, "choices")), {})
        delta = values.object_at(choice, "delta")
        answer = values.text_at(choice, "text") if self.raw else values.text_at(delta, "content")
        # vLLM and SGLang have used both of these names; llama-server, TabbyAPI and DeepSeek use reasoning_content
        thinking = values.text_at(delta, "reasoning_content") or values.text_at(delta, "reasoning")
        self.began = self.began or bool(answer or thinking)
        self.reason = values.text_at(choice, "finish_reason") or self.reason
        self._count(chunk)
        if self.logprobs is not None:
            scored = tuple(scored_in(values.object_at(choice, "logprobs")))
            self.scored = self.scored or bool(scored)
            self._held += scored
        # A token without text belongs to the next text, in whichever channel that is.
        if answer or thinking:
            yield from self.rest(now, answer, thinking)

    def rest(self, now: float, answer: str = "", thinking: str = "") -> Iterator[paragone.Token]:
        """Yield the tokens of a text, with the log-probabilities that are held back for it; without a text, only these."""
        held, self._held = self._held, ()
        yield from answers.tokens_of(answer, held, thinking=thinking, top=self.logprobs or 0, time=now)

    def _count(self, chunk: JsonObject) -> None:
        if usage := values.object_at(chunk, "usage"):
            self.usage = replace(
                self.usage,
                prompt_tokens=values.count_at(usage, "prompt_tokens"),
                cached_tokens=values.count_at(usage, "prompt_tokens_details", "cached_tokens"),
                completion_tokens=values.count_at(usage, "completion_tokens"),
            )
        if timings := values.object_at(chunk, "timings"):
            self.timings = paragone.Timings(
                prefill_s=values.duration_at(timings, "prompt_ms", unit=1e-3),
                decode_s=values.duration_at(timings, "predicted_ms", unit=1e-3),
            )
            # The counts of speculative decoding may arrive in another chunk than the other counts.
            if (drafted := values.count_at(timings, "draft_n")) is not None:
                accepted = values.count_at(timings, "draft_n_accepted")
                self.usage = replace(self.usage, drafted_tokens=drafted, accepted_tokens=accepted)


def progress_in(chunk: JsonObject, now: float) -> paragone.PromptProgress | None:
    progress = values.object_at(chunk, "prompt_progress")
    done, total, cached = (values.count_at(progress, name) for name in ("processed", "total", "cache"))
    if done is None or total is None:
        return None
    return paragone.PromptProgress(done=done, total=total, cached=cached or 0, time=now)


def scored_in(logprobs: JsonObject) -> Iterator[paragone.Token]:
    """Yield a chunk's tokens with log-probabilities: entries in chats and at llama-server, else parallel lists."""
    if "content" in logprobs:
        yield from answers.scored_tokens(values.objects_at(logprobs, "content"))
        return
    tables = values.list_at(logprobs, "top_logprobs")
    columns = values.list_at(logprobs, "tokens"), values.list_at(logprobs, "token_logprobs")
    for place, (token, value) in enumerate(zip(*columns, strict=False)):
        logprob = values.number_at(value)
        if isinstance(token, str) and logprob is not None:  # the first token of a text has no log-probability
            table = values.object_at(tables[place]) if place < len(tables) else {}
            top = ((other, values.number_at(found), None) for other, found in table.items())
            yield answers.scored_token(token, logprob, top)


_NOT_THE_PROTOCOL = "data that is not valid in OpenAI's protocol"

_END_PATIENCE = 1.0


async def streamed(
    http: httpx.AsyncClient, path: str, body: JsonObject, *, hangs_up: bool
) -> AsyncGenerator[JsonObject, None]:
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
                if event.event == "error":
                    raise reported_failure(event.data)
                yield read_object(event.data, invalid=_NOT_THE_PROTOCOL)


async def repeat_for_error(http: httpx.AsyncClient, path: str, body: JsonObject) -> None:
    """Repeat a failed request without a stream and for one token, to get the error that the stream did not report."""
    short = {name: value for name, value in body.items() if name != "stream_options"} | {"max_tokens": 1}
    await http.post(path, json=short)


async def _read_to_end(events: AsyncGenerator[ServerSentEvent, None]) -> None:
    """Read the rest of a complete answer, so that the next request can use its connection."""
    with contextlib.suppress(TimeoutError, *FAULTS):
        async with asyncio.timeout(_END_PATIENCE):
            async for _ in events:
                pass
