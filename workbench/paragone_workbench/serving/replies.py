"""The replies to requests, whole and as the events of a stream."""

from __future__ import annotations

import base64
import sys
import time
from abc import ABC, abstractmethod
from array import array
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

from paragone import Channel, Embeddings, Json, Options, Token
from paragone_workbench.ids import new_id
from paragone_workbench.serving.requests import AnswerRequest, ApiError, Fields, Given, given_in


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece of an answer, or of the prompt that the client wants repeated before the answer."""

    index: int
    text: str
    channel: Channel = "answer"
    tokens: tuple[Token, ...] = ()
    """The tokens of the piece, if the request asks for log-probabilities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class End:
    index: int
    reason: Literal["stop", "length"]
    prompt_tokens: int
    completion_tokens: int = 0
    ttft_s: float | None = None
    """Seconds to the first token; None if nothing was generated."""


Part: TypeAlias = Piece | End


def chat_logprobs(tokens: Sequence[Token]) -> Json:
    """Return the log-probabilities of a chat: a list of tokens, each with its alternatives. Thinking is left out."""
    content = [
        {
            **_entry(token.text, token.logprob),
            "top_logprobs": [_entry(other.text, other.logprob) for other in token.top],
        }
        for token in tokens
        if token.channel == "answer"
    ]
    return {"content": content, "refusal": None}


def completion_logprobs(tokens: Sequence[Token], offset: int) -> Json:
    """Return the log-probabilities of a completion: parallel lists. `offset` is the index of the first token in the whole text."""
    offsets: list[int] = []
    for token in tokens:
        offsets.append(offset)
        offset += len(token.text)
    return {
        "tokens": [token.text for token in tokens],
        "token_logprobs": [token.logprob for token in tokens],
        "top_logprobs": [_table(token) for token in tokens],
        "text_offset": offsets,
    }


def _entry(text: str, logprob: float | None) -> dict[str, Json]:
    return {"token": text, "logprob": logprob, "bytes": list(text.encode("utf-8", "replace"))}


def _table(token: Token) -> Json:
    """Return the log-probabilities of the token and of the likeliest tokens; null if the token has no log-probability.

    The token's text is the same as in the list of tokens, so that a client sees whether the token is the likeliest.
    """
    if token.logprob is None:
        return None
    table: dict[str, Json] = {}
    for other in token.top:
        is_same = token.id is not None and other.id == token.id
        table.setdefault(token.text if is_same else other.text, other.logprob)
    table.setdefault(token.text, token.logprob)
    return table


class Reply(ABC):
    """The reply to one request, made of the parts of its answers in the order in which they were computed."""

    _prefix: ClassVar[str]
    _whole: ClassVar[str]
    """The name of a whole reply in the API."""
    _event: ClassVar[str]
    """The name of an event of a stream in the API."""

    def __init__(self, request: AnswerRequest, model: str) -> None:
        self._request = request
        self._head: dict[str, Json] = {
            "id": f"{self._prefix}-{new_id()}",
            "created": int(time.time()),
            "model": model,
        }
        self._ends: list[End] = []

    def event(self, part: Part) -> Json:
        if isinstance(part, End):
            self._ends.append(part)
        event = {**self._head, "object": self._event, "choices": [self._event_choice(part)]}
        return {**event, "usage": None} if self._request.stream_usage else event

    def last_events(self) -> Iterable[Json]:
        """Yield the event after the ends of all answers: the token counts, if the request asks for them."""
        if self._request.stream_usage:
            yield {**self._head, "object": self._event, "choices": [], "usage": self._usage()}

    def whole(self, parts: Iterable[Part]) -> Json:
        pieces: defaultdict[int, list[Piece]] = defaultdict(list)
        for part in parts:
            if isinstance(part, End):
                self._ends.append(part)
            else:
                pieces[part.index].append(part)
        choices = [
            self._choice(end, pieces[end.index]) for end in sorted(self._ends, key=lambda end: end.index)
        ]
        return {**self._head, "object": self._whole, "choices": choices, "usage": self._usage()}

    @abstractmethod
    def _event_choice(self, part: Part) -> dict[str, Json]:
        pass

    @abstractmethod
    def _choice(self, end: End, pieces: list[Piece]) -> dict[str, Json]:
        """Return the entry of a whole answer in the `choices` of a reply."""

    def _has_logprobs(self, index: int) -> bool:
        return self._request.choices[index].logprobs is not None

    def _usage(self) -> Json:
        # The API counts a prompt once, however many answers it has.
        prompt = sum(end.prompt_tokens for end in self._ends if end.index % self._request.per_prompt == 0)
        completion = sum(end.completion_tokens for end in self._ends)
        return {
            "prompt_tokens": prompt,
            "completion_tokens": completion,
            "total_tokens": prompt + completion,
        }


class ChatReply(Reply):
    """The reply to a chat. Thinking is in `reasoning_content`, as in other servers."""

    _prefix = "chatcmpl"
    _whole = "chat.completion"
    _event = "chat.completion.chunk"

    def __init__(self, request: AnswerRequest, model: str) -> None:
        super().__init__(request, model)
        self._begun: set[int] = set()
        """The answers whose first event was sent."""

    def _event_choice(self, part: Part) -> dict[str, Json]:
        delta: dict[str, Json] = {}
        if part.index not in self._begun:
            self._begun.add(part.index)
            delta["role"] = "assistant"
        logprobs: Json = None
        if isinstance(part, Piece):
            delta["content" if part.channel == "answer" else "reasoning_content"] = part.text
            if self._has_logprobs(part.index):
                logprobs = chat_logprobs(part.tokens)
        reason = part.reason if isinstance(part, End) else None
        return {"index": part.index, "delta": delta, "logprobs": logprobs, "finish_reason": reason}

    def _choice(self, end: End, pieces: list[Piece]) -> dict[str, Json]:
        text = "".join(piece.text for piece in pieces if piece.channel == "answer")
        thinking = "".join(piece.text for piece in pieces if piece.channel == "thinking")
        message: dict[str, Json] = {"role": "assistant", "content": text, "refusal": None}
        if thinking:
            message["reasoning_content"] = thinking
        tokens = [token for piece in pieces for token in piece.tokens]
        return {
            "index": end.index,
            "message": message,
            "logprobs": chat_logprobs(tokens) if self._has_logprobs(end.index) else None,
            "finish_reason": end.reason,
        }


class CompletionReply(Reply):
    _prefix = "cmpl"
    _whole = "text_completion"
    _event = "text_completion"

    def __init__(self, request: AnswerRequest, model: str) -> None:
        super().__init__(request, model)
        self._lengths: defaultdict[int, int] = defaultdict(int)
        """Number of characters sent of each answer, by its index."""

    def _event_choice(self, part: Part) -> dict[str, Json]:
        text, logprobs = "", None
        if isinstance(part, Piece):
            text = part.text
            if self._has_logprobs(part.index):
                logprobs = completion_logprobs(part.tokens, self._lengths[part.index])
            self._lengths[part.index] += len(text)
        reason = part.reason if isinstance(part, End) else None
        return {"text": text, "index": part.index, "logprobs": logprobs, "finish_reason": reason}

    def _choice(self, end: End, pieces: list[Piece]) -> dict[str, Json]:
        tokens = [token for piece in pieces for token in piece.tokens]
        return {
            "text": "".join(piece.text for piece in pieces),
            "index": end.index,
            "logprobs": completion_logprobs(tokens, 0) if self._has_logprobs(end.index) else None,
            "finish_reason": end.reason,
        }


def reply_to(request: AnswerRequest, model: str) -> Reply:
    return (ChatReply if request.is_chat else CompletionReply)(request, model)


_MOST_INPUTS = 2048
"""Largest number of texts in a request, as OpenAI defines it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedEmbeddings:
    inputs: Sequence[Given]
    encoding: Literal["float", "base64"]


def embeddings_request(body: Fields, options: type[Options]) -> AskedEmbeddings:
    """Read a client's request for embeddings, on which the engine's options have no effect. Raises ApiError."""
    del options
    inputs = given_in(body, "input")
    if len(inputs) > _MOST_INPUTS:
        raise body.wrong("input", f"at most {_MOST_INPUTS:,} texts")
    if body.has("dimensions"):
        raise ApiError(
            400, "dimensions is not supported: a vector has the model's length.", param="dimensions"
        )
    match body.text("encoding_format"):
        case None | "float":
            return AskedEmbeddings(inputs=inputs, encoding="float")
        case "base64":
            return AskedEmbeddings(inputs=inputs, encoding="base64")
        case _:
            raise body.wrong("encoding_format", "float or base64")


def embeddings_reply(asked: AskedEmbeddings, found: Embeddings, model: str) -> Json:
    encode = _in_base64 if asked.encoding == "base64" else list
    tokens = found.prompt_tokens or 0
    return {
        "object": "list",
        "model": model,
        "data": [
            {"object": "embedding", "index": index, "embedding": encode(vector)}
            for index, vector in enumerate(found.vectors)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


def _in_base64(vector: Sequence[float]) -> str:
    """Return a vector as 32-bit floats, little-endian, in base64."""
    numbers = array("f", vector)
    if sys.byteorder == "big":
        numbers.byteswap()
    return base64.b64encode(numbers).decode("ascii")
