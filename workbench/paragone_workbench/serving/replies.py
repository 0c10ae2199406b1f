"""The replies to requests, complete or as the events of a stream."""

import base64
import struct
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from msgspec import Struct

from paragone import Channel, Embeddings, Json, Token
from paragone_workbench.ids import new_id
from paragone_workbench.serving import requests


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """A piece of an answer or of a prompt that the client wants repeated (echo), or the end of an answer."""

    index: int
    text: str = ""
    channel: Channel = "answer"
    tokens: tuple[Token, ...] = ()
    """The tokens of the piece, if the request asks for log-probabilities."""
    reason: Literal["stop", "length"] | None = None
    """Why the answer ends; None for a piece."""
    prompt_tokens: int = 0
    completion_tokens: int = 0
    ttft_s: float | None = None
    """Seconds to the first token; None if nothing was generated."""


def _chat_logprobs(tokens: Sequence[Token]) -> Json:
    """Return the log-probabilities of a chat: a list of tokens, each with its alternatives. Thinking is omitted."""
    content = [
        {
            **_entry(token.text, token.logprob),
            "top_logprobs": [_entry(other.text, other.logprob) for other in token.top],
        }
        for token in tokens
        if token.channel == "answer"
    ]
    return {"content": content, "refusal": None}


def _completion_logprobs(tokens: Sequence[Token], offset: int) -> Json:
    """Return the log-probabilities of a completion: parallel lists. `offset` is the index of the first token in the whole
    text."""
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
    """Return the log-probabilities of the token and of the most likely tokens, by text; null if unknown."""
    if token.logprob is None:
        return None
    table: dict[str, Json] = {}
    for other in token.top:
        is_same = token.id is not None and other.id == token.id
        table.setdefault(token.text if is_same else other.text, other.logprob)
    table.setdefault(token.text, token.logprob)
    return table


class Reply:
    """The reply to one request, made of parts in their order. The thinking of a chat is in `reasoning_content`, as
    elsewhere."""

    def __init__(self, request: requests.AnswerRequest, model: str) -> None:
        self._request = request
        prefix, self._whole, self._event = _NAMES[request.is_chat]
        self._head: dict[str, Json] = {
            "id": f"{prefix}-{new_id()}",
            "created": int(time.time()),
            "model": model,
        }
        self._ends: list[Part] = []
        self._lengths: dict[int, int] = {}
        """For each answer whose first event was sent, the number of characters sent, by the answer's index."""

    def event(self, part: Part) -> Json:
        if part.reason:
            self._ends.append(part)
        event = {**self._head, "object": self._event, "choices": [self._event_choice(part)]}
        return {**event, "usage": None} if self._request.stream_usage else event

    def last_events(self) -> Iterable[Json]:
        """Yield the event after the ends of all answers: the token counts, if the request asks for them."""
        if self._request.stream_usage:
            yield {**self._head, "object": self._event, "choices": [], "usage": self._usage()}

    def whole(self, parts: Iterable[Part]) -> Json:
        pieces: defaultdict[int, list[Part]] = defaultdict(list)
        for part in parts:
            (self._ends if part.reason else pieces[part.index]).append(part)
        self._ends.sort(key=lambda end: end.index)
        choices = [self._choice(end, pieces[end.index]) for end in self._ends]
        return {**self._head, "object": self._whole, "choices": choices, "usage": self._usage()}

    def _event_choice(self, part: Part) -> dict[str, Json]:
        sent = self._lengths.get(part.index)
        self._lengths[part.index] = (sent or 0) + len(part.text)
        content: dict[str, Json] = {"text": part.text}
        if self._request.is_chat:
            delta: dict[str, Json] = {"role": "assistant"} if sent is None else {}
            if not part.reason:
                delta["content" if part.channel == "answer" else "reasoning_content"] = part.text
            content = {"delta": delta}
        return {
            **content,
            "index": part.index,
            "logprobs": None if part.reason else self._logprobs(part.tokens, sent or 0),
            "finish_reason": part.reason,
        }

    def _choice(self, end: Part, pieces: list[Part]) -> dict[str, Json]:
        is_chat = self._request.is_chat
        text = "".join(piece.text for piece in pieces if piece.channel == "answer" or not is_chat)
        thinking = "".join(piece.text for piece in pieces if piece.channel == "thinking")
        content: dict[str, Json] = {"text": text}
        if is_chat:
            message = {"role": "assistant", "content": text, "refusal": None}
            content = {"message": {**message, "reasoning_content": thinking} if thinking else message}
        tokens = [token for piece in pieces for token in piece.tokens]
        return {
            **content,
            "index": end.index,
            "logprobs": self._logprobs(tokens, 0),
            "finish_reason": end.reason,
        }

    def _logprobs(self, tokens: Sequence[Token], offset: int) -> Json:
        if self._request.logprobs is None:
            return None
        return _chat_logprobs(tokens) if self._request.is_chat else _completion_logprobs(tokens, offset)

    def _usage(self) -> Json:
        # The API counts a prompt once, however many answers it has.
        prompt = sum(end.prompt_tokens for end in self._ends if end.index % self._request.per_prompt == 0)
        completion = sum(end.completion_tokens for end in self._ends)
        return {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}


_NAMES = {
    True: ("chatcmpl", "chat.completion", "chat.completion.chunk"),
    False: ("cmpl", "text_completion", "text_completion"),
}
"""For a chat, and for a completion: the prefix of ids, and the names of a complete reply and of an event of a stream."""
_MOST_INPUTS = 2048
"""Largest number of texts in a request, as OpenAI defines it."""


class EmbeddingsRequest(Struct):
    input: requests.Inputs
    encoding_format: Literal["float", "base64"] = "float"


def embeddings_request(values: Mapping[str, Json]) -> EmbeddingsRequest:
    """Read a client's request for embeddings. Raises ApiError."""
    body = requests.read(EmbeddingsRequest, values)
    if len(requests.inputs_in(body.input, "input")) > _MOST_INPUTS:
        raise requests.wrong("input", f"at most {_MOST_INPUTS:,} texts")
    if values.get("dimensions") is not None:
        raise requests.ApiError(
            400, "dimensions is not supported: a vector has the model's length.", param="dimensions"
        )
    return body


def embeddings_reply(asked: EmbeddingsRequest, found: Embeddings, model: str) -> Json:
    encode = _in_base64 if asked.encoding_format == "base64" else list
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
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode("ascii")
