"""Reads requests for answers into typed values. Wrong fields raise ApiError."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from paragone import InputError, Json, Options
from paragone.chat.sampling import SEEDS
from paragone.key_text import without_keys
from paragone.options import OptionInfo, build, describe
from paragone_workbench.runs.spec import RunSpec
from paragone_workbench.serving.protocol.api_error import ApiError
from paragone_workbench.serving.protocol.fields import Fields
from paragone_workbench.serving.protocol.given import Given, given_in
from paragone_workbench.serving.protocol.messages import messages_of

_MOST_CHOICES = 1024
"""Largest number of answers that one request may ask for."""
_MOST_TOKENS = 2**31 - 1
_MOST_STOPS = 64
"""Largest number of stop sequences: the engine looks for each of them after each token."""
_MOST_TOP = 20
"""Largest number of alternatives to each token."""
_USUAL_TOKENS = 16
"""Largest number of tokens of a completion whose request sets no limit, as in the OpenAI API."""

_NEUTRAL: Mapping[str, float] = {
    "top_k": 0,
    "top_p": 1,
    "min_p": 0,
    "repeat_penalty": 1,
    "presence_penalty": 0,
    "frequency_penalty": 0,
}
"""The values at which an option has no effect. Clients send these values also to engines without the option."""
_NUMBERS = ("temperature", *_NEUTRAL)
"""The options that are numbers. A request that sets such an option is refused if the engine lacks the option."""
_NOT_SUPPORTED = (
    *("tools", "tool_choice", "functions", "function_call"),
    *("logit_bias", "suffix", "best_of", "audio", "prediction"),
)
"""Fields of the OpenAI API that this server refuses, because they would change the answer."""
_NOTHING_ASKED: Sequence[Json] = (None, 1, "", [], {})
"""The values with which the fields in `_NOT_SUPPORTED` change nothing."""
_NO_TOOL: Mapping[str, Sequence[Json]] = dict.fromkeys(
    ("tool_choice", "function_call"), (*_NOTHING_ASKED, "auto", "none")
)
"""The values with which the fields that choose a tool change nothing, since there are no tools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedAnswer:
    """One of the answers that a request asks for."""

    run: RunSpec | None
    """The run that computes the answer; None if nothing is to be added to the given text."""
    given: Given = ""
    """The prompt, if the client wants it repeated before the answer; else empty."""
    logprobs: int | None = None
    """Number of alternatives to report with each token; None to report no log-probabilities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRequest:
    """A request for answers of one engine."""

    is_chat: bool
    """Whether the client sent messages; otherwise, texts to complete."""
    choices: tuple[RequestedAnswer, ...]
    per_prompt: int
    """Number of choices for each prompt. The choices of a prompt follow each other."""
    stream: bool
    stream_usage: bool
    """Whether the last event of the stream has the token counts."""


def chat_request(body: Fields, options: type[Options]) -> AnswerRequest:
    """Read a client's request for a chat. `options` are the engine's sampling options."""
    messages = messages_of(body)
    limit = "max_completion_tokens" if body.has("max_completion_tokens") else "max_tokens"
    sampling = _sampling(body, options, body.whole(limit, 1, _MOST_TOKENS))
    logprobs = (body.whole("top_logprobs", 0, _MOST_TOP) or 0) if body.flag("logprobs") else None
    choices = [
        RequestedAnswer(run=RunSpec(messages=messages, sampling=own, logprobs=logprobs), logprobs=logprobs)
        for own in _with_seeds(sampling, _count(body))
    ]
    return _request(body, choices, is_chat=True)


def completion_request(body: Fields, options: type[Options]) -> AnswerRequest:
    """Read a client's request for completions. `options` are the engine's sampling options."""
    prompts, echo = given_in(body, "prompt"), body.flag("echo")
    answers = len(prompts) * _count(body)
    if answers > _MOST_CHOICES:
        sentence = f"The request asks for {answers:,} answers. At most {_MOST_CHOICES:,} are possible."
        raise ApiError(400, sentence, param="n")
    limit = body.whole("max_tokens", 0, _MOST_TOKENS)
    if limit == 0 and not echo:
        raise ApiError(400, "Without echo, max_tokens must be at least 1.", param="max_tokens")
    if limit is None and any(info.name == "max_tokens" for info in describe(options)):
        limit = _USUAL_TOKENS
    sampling = _sampling(body, options, limit or None)
    logprobs = body.whole("logprobs", 0, _MOST_TOP)
    choices = [
        RequestedAnswer(
            run=None if limit == 0 else _continuation(prompt, own, logprobs),
            given=prompt if echo else "",
            logprobs=logprobs,
        )
        for prompt in prompts
        for own in _with_seeds(sampling, _count(body))
    ]
    return _request(body, choices, is_chat=False)


def _request(body: Fields, choices: Sequence[RequestedAnswer], *, is_chat: bool) -> AnswerRequest:
    for name in _NOT_SUPPORTED:
        if body.value(name) not in _NO_TOOL.get(name, _NOTHING_ASKED):
            raise ApiError(400, f"{name} is not supported.", param=name)
    stream_options = body.object("stream_options")
    return AnswerRequest(
        is_chat=is_chat,
        choices=tuple(choices),
        per_prompt=_count(body),
        stream=body.flag("stream"),
        stream_usage=stream_options is not None and stream_options.flag("include_usage"),
    )


def _continuation(prompt: Given, sampling: Mapping[str, Json], logprobs: int | None) -> RunSpec:
    spec = RunSpec(messages=(), sampling=sampling, logprobs=logprobs)
    return replace(spec, text=prompt) if isinstance(prompt, str) else replace(spec, ids=prompt)


def _count(body: Fields) -> int:
    return body.whole("n", 1, _MOST_CHOICES) or 1


def _sampling(body: Fields, options: type[Options], limit: int | None) -> dict[str, Json]:
    """Return the sampling options that a request sets: each field with the name of an option sets this option."""
    stop = body.texts("stop")
    if stop is not None and len(stop) > _MOST_STOPS:
        raise body.wrong("stop", f"at most {_MOST_STOPS} texts")
    known = {info.name: info for info in describe(options)}
    wanted: dict[str, Json] = {
        **{name: body.value(name) for name in known},
        "max_tokens": limit,
        **{name: body.number(name) for name in _NUMBERS},
        "seed": body.whole("seed", 0, SEEDS - 1),
        "stop": stop,
        "json_schema": _schema(body),
    }
    sampling: dict[str, Json] = {}
    for name, value in wanted.items():
        if value is None or (name not in known and value == _NEUTRAL.get(name)):
            continue
        param = "response_format" if name == "json_schema" and body.has("response_format") else name
        if name not in known:
            raise ApiError(400, f"The engine has no option {name}.", param=param)
        if _reaches_out(known[name], value):
            raise body.wrong(param, "a value that names no file or program: the server uses none for clients")
        try:
            build(options, {name: value})
        except InputError as error:
            raise ApiError(400, without_keys(str(error)), param=param) from error
        sampling[name] = value
    return sampling


def _reaches_out(option: OptionInfo, value: Json) -> bool:
    """Whether the value of an option names something outside of the request, such as a file on this machine."""
    if option.outside != "text or file":
        return bool(option.outside)
    texts = value if isinstance(value, list) else [value]
    return any(isinstance(text, str) and text.startswith("@") for text in texts)


def _schema(body: Fields) -> Json:
    """Return the JSON schema that the answer must follow; None for any text."""
    wanted = body.object("response_format")
    if wanted is None:
        return body.value("json_schema")
    if body.has("json_schema"):
        sentence = "Only one of response_format and json_schema can be given."
        raise ApiError(400, sentence, param="json_schema")
    match wanted.required("type"):
        case "text":
            return None
        case "json_object":
            return '{"type": "object"}'
        case "json_schema":
            table = wanted.object("json_schema")
            if table is None or not isinstance(schema := table.value("schema"), Mapping):
                raise wanted.wrong("json_schema", "an object with a schema, which is an object")
            return json.dumps(schema)
        case _:
            raise wanted.wrong("type", "text, json_object or json_schema")


def _with_seeds(sampling: Mapping[str, Json], count: int) -> Iterator[Mapping[str, Json]]:
    """Yield the options of each of several answers to one prompt. A seed grows by 1 from answer to answer, so that the
    answers differ."""
    seed = sampling.get("seed")
    for number in range(count):
        yield {**sampling, "seed": (seed + number) % SEEDS} if isinstance(seed, int) else sampling
