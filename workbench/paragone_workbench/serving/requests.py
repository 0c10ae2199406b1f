"""Reads requests of the OpenAI API into typed values. Wrong fields raise ApiError."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

import paragone
from paragone.options import OptionInfo, build, describe
from paragone.shared_options import SEEDS
from paragone.texts import without_keys
from paragone.wire import parse_json
from paragone_workbench.runs.run import RunSpec

T = TypeVar("T")


class ApiError(Exception):
    """An error that is sent to a client. `param` is the wrong field of the request, `code` a stable identifier for programs."""

    def __init__(
        self, status: int, message: str, *, param: str | None = None, code: str | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.param = param
        self.code = code

    def to_json(self) -> dict[str, paragone.Json]:
        kind = "invalid_request_error" if self.status < 500 else "server_error"
        error = {"message": self.message, "type": kind, "param": self.param, "code": self.code}
        return {"error": error}


def api_error(error: paragone.ParagoneError) -> ApiError:
    """Return the HTTP error that a client gets for an engine's error."""
    message = without_keys(str(error))
    match error:
        case paragone.ContextOverflow():
            return ApiError(400, message, code="context_length_exceeded")
        case paragone.InputError():
            return ApiError(400, message)
        case paragone.EngineCrashed():
            return ApiError(500, message, code="engine_crashed")
        case _:
            return ApiError(500, message)


_MOST_BRACKETS = 200_000
"""Largest number of opening brackets and braces in a body: Python runs no other thread while it parses a body."""


class Fields:
    """The fields of an object in a request; null is missing. Methods return None without it, and raise ApiError for a wrong type."""

    def __init__(self, values: Mapping[str, paragone.Json], path: str = "") -> None:
        self._values = values
        self._path = path

    @classmethod
    def of_body(cls, body: bytes) -> Fields:
        if body.count(b"[") + body.count(b"{") > _MOST_BRACKETS:
            raise ApiError(400, f"The body has more than {_MOST_BRACKETS:,} opening brackets and braces.")
        try:
            values = parse_json(body)
        except ValueError as error:
            raise ApiError(400, f"The body is not valid JSON: {error}.") from error
        if not isinstance(values, Mapping):
            raise ApiError(400, "The body must be a JSON object.")
        return cls(values)

    def has(self, name: str) -> bool:
        return self._values.get(name) is not None

    def value(self, name: str) -> paragone.Json:
        return self._values.get(name)

    def path(self, name: str) -> str:
        """Return the name of a field with the names of the objects around the field, such as `messages[0].role`."""
        return f"{self._path}.{name}" if self._path else name

    def wrong(self, name: str, expected: str) -> ApiError:
        """Return the error for a field with an invalid value. `expected` says which values are valid."""
        return ApiError(400, f"{self.path(name)} must be {expected}.", param=self.path(name))

    def _typed(self, name: str, kind: type[T], expected: str) -> T | None:
        value = self._values.get(name)
        if value is None or (isinstance(value, kind) and (kind is bool or not isinstance(value, bool))):
            return value
        raise self.wrong(name, expected)

    def text(self, name: str) -> str | None:
        return self._typed(name, str, "a text")

    def required(self, name: str) -> str:
        value = self.text(name)
        if value is None:
            raise self.wrong(name, "given, as a text")
        return value

    def flag(self, name: str) -> bool:
        return bool(self._typed(name, bool, "true or false"))

    def whole(self, name: str, least: int, most: int) -> int | None:
        expected = f"a whole number from {least:,} to {most:,}"
        value = self._typed(name, int, expected)
        if value is not None and not least <= value <= most:
            raise self.wrong(name, expected)
        return value

    def number(self, name: str) -> float | None:
        kind = int if isinstance(self._values.get(name), int) else float
        return self._typed(name, kind, "a number")

    def texts(self, name: str) -> tuple[str, ...] | None:
        value = self._values.get(name)
        items = value if isinstance(value, list) else () if value is None else (value,)
        texts = tuple(text for text in items if isinstance(text, str))
        if len(texts) != len(items):
            raise self.wrong(name, "a text or a list of texts")
        return None if value is None else texts

    def object(self, name: str) -> Fields | None:
        value = self._typed(name, dict, "an object")
        return None if value is None else Fields(value, self.path(name))

    def objects(self, name: str) -> Iterator[Fields]:
        value = self._values.get(name)
        if not isinstance(value, Sequence) or isinstance(value, str):
            raise self.wrong(name, "a list of objects")
        for index, item in enumerate(value):
            if not isinstance(item, Mapping):
                raise self.wrong(f"{name}[{index}]", "an object")
            yield Fields(item, self.path(f"{name}[{index}]"))


Given: TypeAlias = str | tuple[int, ...]


def given_in(body: Fields, name: str) -> Sequence[Given]:
    """Return the inputs in a field: at least one text or sequence of tokens. Raises ApiError."""
    value = body.value(name)
    items = value if isinstance(value, list) else [value]
    several = all(isinstance(item, str | list) for item in items)
    given = [_given(item) for item in (items if several else [value])]
    if not given or not all(given):
        raise body.wrong(name, "a text, a list of token ids, or a list of either, none of them empty")
    return given


def _given(value: paragone.Json) -> Given:
    """Return a text or the ids of tokens; empty if the value is neither."""
    if isinstance(value, str):
        return value
    ids = value if isinstance(value, list) else ()
    found = tuple(at for at in ids if isinstance(at, int) and not isinstance(at, bool) and 0 <= at < 2**31)
    return found if len(found) == len(ids) else ()


_MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif")


def _message(fields: Fields) -> paragone.Message:
    role = _role(fields)
    if role != "assistant" and not fields.has("content"):
        raise fields.wrong("content", "given, as a text or a list of objects")
    text, images = _content(fields)
    thinking = fields.text("reasoning_content") or ""
    return paragone.Message(role=role, text=text, images=images, thinking=thinking)


def _role(fields: Fields) -> paragone.Role:
    match fields.required("role"):
        case "user" | "assistant" | "system" as role:
            return role
        case "developer":  # OpenAI's newer name of the role
            return "system"
        case _:
            raise fields.wrong("role", "system, developer, user or assistant: tools are not supported")


def _content(fields: Fields) -> tuple[str, tuple[paragone.Image, ...]]:
    """Return the text and the images of a message, both empty without content. Newlines join the texts of several parts."""
    content = fields.value("content")
    if content is None or isinstance(content, str):
        return content or "", ()
    if not isinstance(content, list):
        raise fields.wrong("content", "a text or a list of objects")
    texts: list[str] = []
    images: list[paragone.Image] = []
    for part in fields.objects("content"):
        match part.required("type"):
            case "text":
                texts.append(part.required("text"))
            case "image_url":
                images.append(_image(part))
            case _:
                raise part.wrong("type", "text or image_url")
    return "\n".join(texts), tuple(images)


def _image(part: Fields) -> paragone.Image:
    url = part.object("image_url")
    if url is None:
        raise part.wrong("image_url", "an object with a url")
    scheme, _, data = url.required("url").partition(",")
    media_type = scheme.removeprefix("data:").removesuffix(";base64")
    if scheme != f"data:{media_type};base64" or media_type not in _MEDIA_TYPES:
        raise ApiError(
            400,
            f"{url.path('url')} must be a data URL of an image in base64, such as data:image/png;base64,…: "
            "the server fetches no images.",
            param=url.path("url"),
        )
    try:
        base64.b64decode(data, validate=True)
    except binascii.Error as error:
        raise url.wrong("url", f"base64: {error}") from error
    return paragone.Image(data=data, media_type=media_type)


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
_NOTHING_ASKED: Sequence[paragone.Json] = (None, 1, "", [], {})
"""The values with which the fields in `_NOT_SUPPORTED` change nothing."""
_NO_TOOL: Mapping[str, Sequence[paragone.Json]] = dict.fromkeys(
    ("tool_choice", "function_call"), (*_NOTHING_ASKED, "auto", "none")
)
"""The values with which the fields that choose a tool change nothing, since there are no tools."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestedAnswer:
    run: RunSpec | None
    """The run that computes the answer; None if nothing is to be added to the given text."""
    given: Given = ""
    """The prompt, if the client wants it repeated before the answer; else empty."""
    logprobs: int | None = None
    """Number of alternatives to report with each token; None to report no log-probabilities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRequest:
    is_chat: bool
    """Whether the client sent messages; otherwise, texts to complete."""
    choices: tuple[RequestedAnswer, ...]
    per_prompt: int
    """Number of choices for each prompt. The choices of a prompt follow each other."""
    stream: bool
    stream_usage: bool


def chat_request(body: Fields, options: type[paragone.Options], *, most_messages: int) -> AnswerRequest:
    given = [*body.objects("messages")]
    if not 1 <= len(given) <= most_messages:
        raise body.wrong("messages", f"a list of 1 to {most_messages:,} messages")
    messages = tuple(map(_message, given))
    limit = "max_completion_tokens" if body.has("max_completion_tokens") else "max_tokens"
    sampling = _sampling(body, options, body.whole(limit, 1, _MOST_TOKENS))
    logprobs = (body.whole("top_logprobs", 0, _MOST_TOP) or 0) if body.flag("logprobs") else None
    choices = [
        RequestedAnswer(run=RunSpec(messages=messages, sampling=own, logprobs=logprobs), logprobs=logprobs)
        for own in _with_seeds(sampling, _count(body))
    ]
    return _request(body, choices, is_chat=True)


def completion_request(body: Fields, options: type[paragone.Options]) -> AnswerRequest:
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
            run=None
            if limit == 0
            else RunSpec(
                messages=(),
                text=prompt if isinstance(prompt, str) else "",
                ids=() if isinstance(prompt, str) else prompt,
                sampling=own,
                logprobs=logprobs,
            ),
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


def _count(body: Fields) -> int:
    return body.whole("n", 1, _MOST_CHOICES) or 1


def _sampling(body: Fields, options: type[paragone.Options], limit: int | None) -> dict[str, paragone.Json]:
    """Return the sampling options that a request sets: each field with the name of an option sets this option."""
    stop = body.texts("stop")
    if stop is not None and len(stop) > _MOST_STOPS:
        raise body.wrong("stop", f"at most {_MOST_STOPS} texts")
    known = {info.name: info for info in describe(options)}
    wanted: dict[str, paragone.Json] = {
        **{name: body.value(name) for name in known},
        "max_tokens": limit,
        **{name: body.number(name) for name in _NUMBERS},
        "seed": body.whole("seed", 0, SEEDS - 1),
        "stop": stop,
        "json_schema": _schema(body),
    }
    sampling: dict[str, paragone.Json] = {}
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
        except paragone.InputError as error:
            raise ApiError(400, without_keys(str(error)), param=param) from error
        sampling[name] = value
    return sampling


def _reaches_out(option: OptionInfo, value: paragone.Json) -> bool:
    if option.outside != "text or file":
        return bool(option.outside)
    texts = value if isinstance(value, list) else [value]
    return any(isinstance(text, str) and text.startswith("@") for text in texts)


def _schema(body: Fields) -> paragone.Json:
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


def _with_seeds(sampling: Mapping[str, paragone.Json], count: int) -> Iterator[Mapping[str, paragone.Json]]:
    """Yield the options of several answers to one prompt. A seed grows by 1, so that the answers differ."""
    seed = sampling.get("seed")
    for number in range(count):
        yield {**sampling, "seed": (seed + number) % SEEDS} if isinstance(seed, int) else sampling
