"""The bodies of requests, with the field names of each server, and the settings in force."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import replace

from paragone import InputError, Json, Message, RunRequest, RunSettings
from paragone.json_values import read_schema
from paragone.options import describe
from paragone.shared_options import draw_seed, thinking_choice
from paragone_remote.answers import continues_answer, set_options, unfinished_text
from paragone_remote.openai_api.servers import ServerKind, ServerProperties
from paragone_remote.options import OpenAISampling
from paragone_remote.transport import Refusal

_MOST_ALTERNATIVES = 20

_CONTINUE: frozenset[ServerKind] = frozenset({"llama-server", "vLLM", "SGLang", "TabbyAPI"})
"""Servers that continue the last message if that message is the assistant's. Other servers may begin a new answer."""

TAKE_IDS: frozenset[ServerKind] = frozenset({"llama-server", "vLLM", "SGLang"})
"""Servers whose completions can continue token ids. Other servers accept texts only, or do not document ids."""

_DIFFERENT_IN_COMPLETIONS = ("max_tokens", "thinking", "json_schema")
"""Options for which a chat and a completion have different fields. All other options are sent under their own names."""

BUDGETS: Mapping[ServerKind, str] = {
    "llama-server": "thinking_budget_tokens",
    "vLLM": "thinking_token_budget",
}
"""The field for the largest number of tokens of the thinking, by server."""


def chat_body(model: str, request: RunRequest, sampling: OpenAISampling, kind: ServerKind) -> dict[str, Json]:
    """Return the body of a chat request, with the server's extra fields. Raises InputError."""
    given = request.messages[-1] if continues_answer(request) else None
    if given is not None and kind == "TabbyAPI":  # the field response_prefix has the answer's text
        request = replace(request, messages=request.messages[:-1])
    messages: list[Json] = []
    for message in request.messages:
        turn: dict[str, Json] = {"role": message.role, "content": _content(message)}
        if message.thinking and kind in ("llama-server", "vLLM", "SGLang"):
            turn["reasoning_content"] = message.thinking
        messages.append(turn)
    body: dict[str, Json] = {"model": model, "messages": messages, **_sampling(sampling, request, kind)}
    if sampling.max_tokens is not None:
        body["max_tokens"] = sampling.max_tokens
    body |= _thinking(sampling, kind)
    if sampling.json_schema is not None:
        body |= _format_of_chat(read_schema(sampling.json_schema), kind)
    if request.logprobs is not None:
        body["logprobs"] = True
        body["top_logprobs"] = _alternatives(request.logprobs, kind)
    if given is not None and kind == "TabbyAPI":
        body["response_prefix"] = unfinished_text(given)
    elif given is not None and kind in _CONTINUE:
        body["continue_final_message"] = True
        body["add_generation_prompt"] = False
    return body


def _thinking(sampling: OpenAISampling, kind: ServerKind) -> dict[str, Json]:
    """Return the fields of a chat request that control the thinking.

    Raises InputError if the server accepts no budget for thinking.
    """
    chosen = thinking_choice(sampling.thinking)
    if chosen.effort is not None:
        return {"reasoning_effort": chosen.effort}
    if chosen.enabled is None:
        return {}
    fields: dict[str, Json] = {"chat_template_kwargs": {"enable_thinking": chosen.enabled}}
    if chosen.budget is None:
        return fields
    if kind not in BUDGETS:
        server = "This server" if kind == "unknown" else kind
        raise InputError(
            f"{server} takes no budget for thinking.",
            hint="The option thinking can be true, false, minimal, low, medium or high.",
        )
    return {**fields, BUDGETS[kind]: chosen.budget}


def continues(kind: ServerKind, *, raw: bool) -> bool:
    """Whether a server continues an answer. `raw`: whether chats use the completions endpoint, which continues any text."""
    return raw or kind in _CONTINUE


def _content(message: Message) -> Json:
    """Return the content of a message: text, or a list of parts for a message with images.

    https://platform.openai.com/docs/guides/images-vision
    """
    if not message.images:
        return message.text
    images: list[Json] = [
        {"type": "image_url", "image_url": {"url": f"data:{image.media_type};base64,{image.data}"}}
        for image in message.images
    ]
    return [*images, {"type": "text", "text": message.text}]


def completion_body(
    model: str, request: RunRequest, sampling: OpenAISampling, kind: ServerKind
) -> dict[str, Json]:
    """Return the body of a completion request, with the server's extra fields.

    The prompt is a plain text (the text of the messages, if there are any) or token ids. Raises InputError.
    """
    prompt: Json = raw_prompt(request) or list(request.ids)
    # The default of max_tokens is 16 on many servers; null means as many as fit.
    body: dict[str, Json] = {"model": model, "prompt": prompt, "max_tokens": sampling.max_tokens}
    body |= _sampling(sampling, request, kind)
    if sampling.json_schema is not None:
        body |= _format_of_completion(read_schema(sampling.json_schema), kind)
    if request.logprobs is not None:
        body["logprobs"] = _alternatives(request.logprobs, kind)
    return body


def _format_of_chat(schema: dict[str, Json], kind: ServerKind) -> dict[str, Json]:
    match kind:
        case "llama-cpp-python":
            return {"response_format": {"type": "json_object", "schema": schema}}
        case "TabbyAPI":
            return {"json_schema": schema}
        case _:
            named: dict[str, Json] = {"name": "answer", "schema": schema, "strict": True}
            return {"response_format": {"type": "json_schema", "json_schema": named}}


def _format_of_completion(schema: dict[str, Json], kind: ServerKind) -> dict[str, Json]:
    """Return the field of a completion request that makes the answer follow a JSON schema.

    OpenAI's protocol has no such field, but some servers do. Raises InputError if this server has no such field.
    """
    match kind:
        case "llama-server" | "TabbyAPI":
            return {"json_schema": schema}
        case "SGLang":
            return {"json_schema": json.dumps(schema)}
        case "vLLM":
            return _format_of_chat(schema, kind)
        case _:
            server = "This server" if kind == "unknown" else kind
            raise InputError(
                f"{server} takes no JSON schema for plain text.",
                hint="Leave out the option json_schema, or raw.",
            )


def raw_prompt(request: RunRequest) -> str:
    """Return the plain text that a completion continues: the text of the messages, if there are any."""
    return "\n\n".join(message.text for message in request.messages) or request.text


def _alternatives(wanted: int, kind: ServerKind) -> int:
    """Return how many alternatives to each token to request.

    For 0, llama-server omits the token's own log-probability.
    """
    return min(max(wanted, 1) if kind == "llama-server" else wanted, _MOST_ALTERNATIVES)


def _sampling(sampling: OpenAISampling, request: RunRequest, kind: ServerKind) -> dict[str, Json]:
    body = set_options(sampling)
    for name in _DIFFERENT_IN_COMPLETIONS:
        body.pop(name, None)
    if "repeat_penalty" in body and kind in ("vLLM", "SGLang", "TabbyAPI"):
        body["repetition_penalty"] = body.pop("repeat_penalty")
    body["stream_options"] = {"include_usage": True}
    if kind == "llama-server":
        body["return_progress"] = True
        body["cache_prompt"] = not request.cold
    return body


_ALWAYS_SENT = {"max_tokens", "temperature", "top_p", "stop", "ignore_eos", "json_schema"}
"""Options that change the answer too much to be left out: if a server refuses such an option, the run fails."""

EXTRAS = {
    **{info.name: info.name for info in describe(OpenAISampling) if info.name not in _ALWAYS_SENT},
    "repetition_penalty": "repeat_penalty",
    "chat_template_kwargs": "thinking",
    "reasoning_effort": "thinking",
    **dict.fromkeys(BUDGETS.values(), "thinking"),
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
"""HTTP statuses with which servers refuse a field.

llama-cpp-python sends 500 if it was started without support for log-probabilities.
"""

_TOGETHER = {"logprobs": {"top_logprobs"}, "top_logprobs": {"logprobs"}}


class RefusedFields(set[str]):
    def without_refused(self, body: Mapping[str, Json]) -> dict[str, Json]:
        """Return a request's body without the refused fields."""
        return {name: value for name, value in body.items() if name not in self}

    def learn(self, refusal: Refusal, body: Mapping[str, Json]) -> bool:
        """Add the extra fields of `body` that a refusal names. Returns whether the refusal names such a field."""
        if refusal.status not in _LEARNS_FROM:
            return False
        sent = [name for name in EXTRAS if name in body]
        named = {name for name in sent if re.search(rf"\b{name}\b", refusal.body)}
        for name in tuple(named):
            named |= _TOGETHER.get(name, set())
        self.update(named)
        return bool(named)

    def left_out(self, body: Mapping[str, Json]) -> list[str]:
        return sorted({EXTRAS[name] for name in body if name in self} - {""})


HONOUR_SEEDS: frozenset[ServerKind] = frozenset({"llama-server", "llama-cpp-python", "vLLM"})
"""Servers that are known to use the seed of a request."""


def with_seed(
    sampling: OpenAISampling, drawn: int | None, server: ServerProperties, refused_fields: RefusedFields
) -> OpenAISampling:
    """Return the options, with a seed if the server honours seeds: the given, the server's, `drawn` or a random seed."""
    if sampling.seed is not None or server.kind not in HONOUR_SEEDS or "seed" in refused_fields:
        return sampling
    drawn = draw_seed() if drawn is None else drawn
    return dataclasses.replace(sampling, seed=drawn if server.seed is None else server.seed)


def settings_of(
    sampling: OpenAISampling, server: ServerProperties, refused_fields: RefusedFields, *, raw: bool
) -> RunSettings:
    """Return the settings in force in an accepted run.

    `raw` says whether the run uses the completions endpoint.
    """
    sent = set_options(sampling)
    for name in refused_fields.left_out(dict.fromkeys(EXTRAS)):
        sent.pop(name, None)
    if raw:
        sent.setdefault("max_tokens", None)  # sent as null, which means as many tokens as fit
        sent.pop("thinking", None)  # the option thinking applies to chats only
    seed = sampling.seed if "seed" in sent and server.kind in HONOUR_SEEDS else None
    return RunSettings(seed=seed, sampling={**server.defaults, **sent} or None)
