"""Chats (https://docs.ollama.com/api/chat): the body of a request, and the parts of a streamed answer.

A model's Modelfile has the same sampling parameters as a request.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from paragone import Finish, FinishReason, Json, Message, RunRequest, Timings, Token, Usage
from paragone.json_values import (
    JsonObject,
    count_at,
    duration_at,
    list_at,
    object_at,
    objects_at,
    read_schema,
    text_at,
)
from paragone.options import describe
from paragone_remote.answers import scored_tokens, set_options, tokens_of, unfinished_text
from paragone_remote.ollama_api.client import OllamaClient
from paragone_remote.options import OllamaSampling

NANO = 1e-9
"""The unit of Ollama's durations, in seconds."""


def read_tokens(chunk: JsonObject, logprobs: int | None, now: float) -> Iterator[Token]:
    message = object_at(chunk, "message")
    return tokens_of(
        text_at(message, "content"),
        [] if logprobs is None else [*scored_tokens(objects_at(chunk, "logprobs"))],
        thinking=text_at(message, "thinking"),
        top=logprobs or 0,
        time=now,
    )


def read_finish(chunk: JsonObject, now: float) -> Finish:
    reason: FinishReason = "length" if chunk.get("done_reason") == "length" else "stop"
    return Finish(
        reason=reason,
        usage=Usage(
            prompt_tokens=count_at(chunk, "prompt_eval_count"),
            completion_tokens=count_at(chunk, "eval_count"),
        ),
        timings=Timings(
            prefill_s=duration_at(chunk, "prompt_eval_duration", unit=NANO),
            decode_s=duration_at(chunk, "eval_duration", unit=NANO),
        ),
        time=now,
    )


def make_body(base: Mapping[str, Json], request: RunRequest, sampling: OllamaSampling) -> dict[str, Json]:
    """Return the body of a chat request. `base` has the fields that all requests of an engine share. Raises InputError."""
    messages: list[Json] = []
    for message in request.messages:
        turn: dict[str, Json] = {"role": message.role, "content": message.text}
        if message.thinking:
            turn["thinking"] = message.thinking
        if message.images:
            turn["images"] = [image.data for image in message.images]
        messages.append(turn)
    body: dict[str, Json] = {**base, "messages": messages}
    body["options"] = {**object_at(base, "options"), **_sent_parameters(sampling)}
    if sampling.thinking is not None:
        body["think"] = sampling.thinking
    if sampling.json_schema is not None:
        body["format"] = read_schema(sampling.json_schema)
    if request.logprobs is not None:
        body["logprobs"] = True
        body["top_logprobs"] = min(request.logprobs, 20)
    return body


_NO_PARAMETERS = {"thinking", "json_schema"}
"""Options that are fields of the request itself, not of its `options`."""

_NAMES = {"max_tokens": "num_predict"}
"""Ollama's names of the options that have another name in paragone."""

_NUMBERS = {
    _NAMES.get(info.name, info.name): info
    for info in describe(OllamaSampling)
    if info.kind in ("number", "whole number")
}
"""The sampling options that are numbers, by Ollama's names."""

_LONGEST = 32
"""Largest number of characters of a plausible number."""


def _sent_parameters(sampling: OllamaSampling) -> dict[str, Json]:
    """Return the parameters of a request: the options that are set."""
    return {
        _NAMES.get(name, name): value
        for name, value in set_options(sampling).items()
        if name not in _NO_PARAMETERS
    }


def modelfile_parameters(text: str) -> dict[str, Json]:
    """Return the values of sampling options that a Modelfile sets, by paragone's option names.

    Each line has a name and a value in Go's syntax; `stop` has one line per sequence.
    """
    stops: list[Json] = []
    found: dict[str, Json] = {"stop": stops}
    for name, value in _lines(text):
        if name == "stop":
            stops.append(value)
        elif name in _NUMBERS and isinstance(value, int | float):
            option = _NUMBERS[name]
            found[option.name] = int(value) if option.kind == "whole number" else float(value)
    if isinstance(limit := found.get("max_tokens"), int) and limit < 1:
        found["max_tokens"] = None  # -1 means no limit, -2 means to the end of the context
    if isinstance(seed := found.get("seed"), int) and seed < 0:
        del found["seed"]  # Ollama draws a new seed for each run
    return found


def _lines(text: str) -> Iterator[tuple[str, str | float]]:
    for line in text.splitlines():
        name, _, value = line.strip().partition(" ")
        value = value.strip()
        if value.startswith('"'):
            yield name, _unquoted(value)
        elif len(value) <= _LONGEST:
            try:
                number = float(value)
            except ValueError:
                continue
            if abs(number) < 2**53:  # excludes infinity and NaN
                yield name, number


def _unquoted(value: str) -> str:
    """Return the value of a quoted Go string. Python literals have the same escapes."""
    try:
        found: object = ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return value
    return found if isinstance(found, str) else value


async def raw_prompt(client: OllamaClient, body: Mapping[str, Json], answer: Message) -> str | None:
    """Return the plain text to send, so that the model continues the answer at the end of the chat request `body`.

    Returns None if the server does not render prompts. Raises the exceptions in `faults.FAULTS`.
    """
    before = await client.rendered({**body, "messages": list_at(body, "messages")[:-1]})
    return None if before is None else before + unfinished_text(answer, before)


async def leaves_open(client: OllamaClient, body: Mapping[str, Json], answer: Message) -> bool:
    """Whether the prompt of a chat request ends with the answer to continue. Raises the exceptions in `faults.FAULTS`."""
    whole = await client.rendered(body)
    return whole is not None and whole.endswith(answer.text)


def raw_body(body: Mapping[str, Json], prompt: str) -> dict[str, Json]:
    """Return the body of a request that continues the plain text `prompt`, with the other fields of the chat request `body`."""
    shared = {name: value for name, value in body.items() if name not in ("messages", "think")}
    return {**shared, "prompt": prompt, "raw": True}
