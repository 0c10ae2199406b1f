"""Reads requests of the OpenAI API into typed values. Wrong fields raise ApiError."""

import base64
import binascii
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Literal, TypeAlias, TypeVar

from msgspec import Meta, Struct

import paragone
from paragone.options import OptionInfo, build, describe
from paragone.shared_options import SEEDS
from paragone.texts import without_keys
from paragone.wire import parse_json
from paragone_workbench import data
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


_MOST_MARKS = 200_000
"""Largest number of opening brackets, opening braces and colons in a body: Python runs no other thread while it parses them."""
_MOST_CHOICES = 1024
"""Largest number of answers that one request may ask for."""
_MOST_TOKENS = 2**31 - 1
_MOST_STOPS, _LONGEST_STOP = 64, 1000
"""Largest number and length of stop sequences: the engine searches for each after each token."""
_MOST_CONVERTED = 1 << 18
"""Largest number of characters that are converted to tokens, and of tokens to characters: they delay other answers."""
_MOST_TOP = 20
"""Largest number of alternatives to each token."""
_USUAL_TOKENS = 16
"""Largest number of tokens of a completion whose request sets no limit, as in the OpenAI API."""


def parsed(body: bytes) -> Mapping[str, paragone.Json]:
    """Return the fields of a request. Raises ApiError."""
    if sum(map(body.count, (b"[", b"{", b":"))) > _MOST_MARKS:
        raise ApiError(
            400, f"The body has more than {_MOST_MARKS:,} opening brackets, opening braces and colons."
        )
    try:
        values = parse_json(body)
    except ValueError as error:
        raise ApiError(400, f"The body is not valid JSON: {error}.") from error
    if not isinstance(values, Mapping):
        raise ApiError(400, "The body must be a JSON object.")
    return values


def read(kind: type[T], values: Mapping[str, paragone.Json]) -> T:
    """Return the fields of a request as a value of this type; null is missing. Raises ApiError."""
    try:
        return data.read(kind, {name: value for name, value in values.items() if value is not None})
    except data.DataError as error:
        raise ApiError(400, str(error), param=error.path or None) from error


def wrong(path: str, expected: str) -> ApiError:
    """Return the error for a field with an invalid value. `expected` describes the valid values."""
    return ApiError(400, f"{path} must be {expected}.", param=path)


Given: TypeAlias = str | tuple[int, ...]
TokenId: TypeAlias = Annotated[int, Meta(ge=0, lt=2**31)]
Inputs: TypeAlias = str | list[str | TokenId | list[TokenId]]
"""A text, a list of token ids, or a list of either."""


def inputs_in(inputs: Inputs, name: str) -> Sequence[Given]:
    """Return the inputs in a field: at least one text or sequence of tokens. Raises ApiError."""
    items = [inputs] if isinstance(inputs, str) else inputs
    ids = [item for item in items if isinstance(item, int)]
    given: list[Given] = [tuple(ids)] if ids else []
    given += [tuple(item) if isinstance(item, list) else item for item in items if not isinstance(item, int)]
    if not given or not all(given) or (ids and len(ids) < len(items)):
        raise wrong(name, "a text, a list of token ids, or a list of either, none of them empty")
    return given


class _Message(Struct):
    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[dict[str, object]] | None = None
    reasoning_content: str | None = None


class _Fields(Struct, kw_only=True):
    """The fields that a chat and a completion share. Fields with the names of an engine's options are read as options."""

    n: Annotated[int, Meta(ge=1, le=_MOST_CHOICES)] = 1
    stream: bool = False
    stream_options: dict[str, object] = {}
    response_format: dict[str, object] | None = None
    cache_prompt: bool = True
    seed: Annotated[int, Meta(ge=0, lt=SEEDS)] | None = None
    stop: str | list[str] = []


class _Chat(_Fields, kw_only=True):
    messages: list[_Message]
    max_tokens: Annotated[int, Meta(ge=1, le=_MOST_TOKENS)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1, le=_MOST_TOKENS)] | None = None
    logprobs: bool = False
    top_logprobs: Annotated[int, Meta(ge=0, le=_MOST_TOP)] = 0


class _Completion(_Fields, kw_only=True):
    prompt: Inputs
    echo: bool = False
    max_tokens: Annotated[int, Meta(ge=0, le=_MOST_TOKENS)] | None = None
    logprobs: Annotated[int, Meta(ge=0, le=_MOST_TOP)] | None = None


class _Tokens(Struct):
    """The fields of `/tokenize` and `/detokenize`, the same as vLLM's."""

    prompt: str = ""
    tokens: list[TokenId] = []
    add_special_tokens: bool = True


def tokens_request(
    values: Mapping[str, paragone.Json], needed: Literal["prompt", "tokens"]
) -> paragone.TokenizeRequest:
    """Read a client's request for the tokens of a text or the text of tokens. Raises ApiError."""
    body = read(_Tokens, values)
    if values.get(needed) is None or max(len(body.prompt), len(body.tokens)) > _MOST_CONVERTED:
        raise wrong(needed, f"given, and at most {_MOST_CONVERTED:,} long")
    return paragone.TokenizeRequest(text=body.prompt, ids=tuple(body.tokens), bos=body.add_special_tokens)


_MEDIA_TYPES = ("image/png", "image/jpeg", "image/webp", "image/gif")


def _message(message: _Message, path: str) -> paragone.Message:
    content = message.content
    if content is None and message.role != "assistant":
        raise wrong(f"{path}.content", "given, as text or as a list of objects")
    texts, images = list[str](), list[paragone.Image]()
    parts = content if isinstance(content, list) else [{"type": "text", "text": content or ""}]
    for number, part in enumerate(parts):
        match part:
            case {"type": "text", "text": str(text)}:
                texts.append(text)
            case {"type": "image_url", "image_url": {"url": str(url)}}:
                images.append(_image(url, f"{path}.content[{number}].image_url.url"))
            case _:
                expected = "text with a text, or image_url with an object that has a url"
                raise wrong(f"{path}.content[{number}].type", expected)
    return paragone.Message(
        role="system" if message.role == "developer" else message.role,  # OpenAI's newer name of the role
        text="\n".join(texts),
        images=tuple(images),
        thinking=message.reasoning_content or "",
    )


def _image(url: str, path: str) -> paragone.Image:
    scheme, _, content = url.partition(",")
    media_type = scheme.removeprefix("data:").removesuffix(";base64")
    if scheme != f"data:{media_type};base64" or media_type not in _MEDIA_TYPES:
        what = "a data URL of an image in base64, such as data:image/png;base64,…: the server does not fetch URLs"
        raise wrong(path, what)
    try:
        base64.b64decode(content, validate=True)
    except binascii.Error as error:
        raise wrong(path, f"base64: {error}") from error
    return paragone.Image(data=content, media_type=media_type)


_NEUTRAL: Mapping[str, float] = {
    **dict.fromkeys(("top_k", "min_p", "presence_penalty", "frequency_penalty"), 0),
    **dict.fromkeys(("top_p", "repeat_penalty"), 1),
}
"""The values at which an option has no effect. Clients send them even to engines without the option."""
_NUMBERS = ("temperature", *_NEUTRAL)
"""The numeric options. A request that sets one is refused if the engine lacks the option."""
_NOTHING: Sequence[paragone.Json] = (None, 1, "", [], {})
_NOT_SUPPORTED: Mapping[str, Sequence[paragone.Json]] = {
    **dict.fromkeys(
        ("tools", "functions", "logit_bias", "suffix", "best_of", "audio", "prediction"), _NOTHING
    ),
    **dict.fromkeys(("tool_choice", "function_call"), (*_NOTHING, "auto", "none")),
}
"""Fields of the OpenAI API that this server refuses, because they would change the answer, and the values with which
they have no effect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerRequest:
    is_chat: bool
    """Whether the client sent messages; otherwise, texts to complete."""
    runs: tuple[RunSpec, ...]
    """The run of each choice. The choices of a prompt follow each other."""
    per_prompt: int
    """Number of choices for each prompt."""
    logprobs: int | None
    """Number of alternatives to report with each token; None to report no log-probabilities."""
    stream: bool
    stream_usage: bool
    echo: bool = False
    """Whether the client wants the prompt repeated before the answer."""
    adds: bool = True
    """Whether the engine is to generate text after the prompt."""


def chat_request(
    values: Mapping[str, paragone.Json], options: type[paragone.Options], *, most_messages: int
) -> AnswerRequest:
    body = read(_Chat, values)
    if len(body.messages) > most_messages:
        raise wrong("messages", f"at most {most_messages:,} messages")
    messages = tuple(_message(message, f"messages[{number}]") for number, message in enumerate(body.messages))
    sampling = _sampling(values, body, options, body.max_completion_tokens or body.max_tokens)
    logprobs = body.top_logprobs if body.logprobs else None
    whole = RunSpec(messages=messages, sampling=sampling, logprobs=logprobs, cold=not body.cache_prompt)
    return _request(values, body, [whole], is_chat=True)


def completion_request(values: Mapping[str, paragone.Json], options: type[paragone.Options]) -> AnswerRequest:
    body = read(_Completion, values)
    prompts, limit = inputs_in(body.prompt, "prompt"), body.max_tokens
    answers = len(prompts) * body.n
    if answers > _MOST_CHOICES:
        message = f"The request asks for {answers:,} answers. At most {_MOST_CHOICES:,} are possible."
        raise ApiError(400, message, param="n")
    if limit == 0 and not body.echo:
        raise ApiError(400, "Without echo, max_tokens must be at least 1.", param="max_tokens")
    if limit is None and any(info.name == "max_tokens" for info in describe(options)):
        limit = _USUAL_TOKENS
    sampling = _sampling(values, body, options, limit or None)
    runs = [
        RunSpec(
            messages=(),
            text=prompt if isinstance(prompt, str) else "",
            ids=() if isinstance(prompt, str) else prompt,
            sampling=sampling,
            logprobs=body.logprobs,
            cold=not body.cache_prompt,
        )
        for prompt in prompts
    ]
    asked = _request(values, body, runs, is_chat=False)
    return replace(asked, echo=body.echo, adds=limit != 0)


def _request(
    values: Mapping[str, paragone.Json], body: _Fields, runs: Sequence[RunSpec], *, is_chat: bool
) -> AnswerRequest:
    for name, harmless in _NOT_SUPPORTED.items():
        if values.get(name) not in harmless:
            raise ApiError(400, f"{name} is not supported.", param=name)
    return AnswerRequest(
        is_chat=is_chat,
        runs=tuple(replace(run, sampling=own) for run in runs for own in _with_seeds(run.sampling, body.n)),
        per_prompt=body.n,
        logprobs=runs[0].logprobs,
        stream=body.stream,
        stream_usage=body.stream_options.get("include_usage") is True,
    )


def _sampling(
    values: Mapping[str, paragone.Json], body: _Fields, options: type[paragone.Options], limit: int | None
) -> dict[str, paragone.Json]:
    """Return the sampling options that a request sets: each field with the name of an option sets this option."""
    stop = [body.stop] if isinstance(body.stop, str) else body.stop
    if len(stop) > _MOST_STOPS or any(len(text) > _LONGEST_STOP for text in stop):
        raise wrong("stop", f"at most {_MOST_STOPS} texts of {_LONGEST_STOP:,} characters")
    known = {info.name: info for info in describe(options)}
    wanted: dict[str, paragone.Json] = {
        **{name: values.get(name) for name in (*known, *_NUMBERS, "seed")},
        "max_tokens": limit,
        "stop": stop if values.get("stop") is not None else None,
        "json_schema": _schema(values, body),
    }
    sampling: dict[str, paragone.Json] = {}
    for name, value in wanted.items():
        if value is None or (name not in known and value == _NEUTRAL.get(name)):
            continue
        param = "response_format" if name == "json_schema" and body.response_format is not None else name
        if name not in known:
            raise ApiError(400, f"The engine has no option {name}.", param=param)
        if _reaches_out(known[name], value):
            raise wrong(
                param,
                "a value that does not name a file or program: the server does not open them for clients",
            )
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


def _schema(values: Mapping[str, paragone.Json], body: _Fields) -> paragone.Json:
    """Return the JSON schema that the answer must follow; None for any text."""
    if body.response_format is not None and values.get("json_schema") is not None:
        message = "Only one of response_format and json_schema can be given."
        raise ApiError(400, message, param="json_schema")
    match body.response_format:
        case None:
            return values.get("json_schema")
        case {"type": "text"}:
            return None
        case {"type": "json_object"}:
            return '{"type": "object"}'
        case {"type": "json_schema", "json_schema": {"schema": dict(schema)}}:
            return json.dumps(schema)
        case {"type": "json_schema"}:
            raise wrong("response_format.json_schema", "an object with a schema, which is an object")
        case _:
            raise wrong("response_format.type", "text, json_object or json_schema")


def _with_seeds(sampling: Mapping[str, paragone.Json], count: int) -> Iterator[Mapping[str, paragone.Json]]:
    """Yield the options of several answers to one prompt. A seed grows by 1, so that the answers differ."""
    seed = sampling.get("seed")
    for number in range(count):
        yield {**sampling, "seed": (seed + number) % SEEDS} if isinstance(seed, int) else sampling
