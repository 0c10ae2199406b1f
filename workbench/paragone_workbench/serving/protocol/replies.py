"""The replies to requests for answers, whole and as the events of a stream."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import defaultdict
from collections.abc import Iterable
from typing import ClassVar

from paragone import Json
from paragone_workbench.identity import new_id
from paragone_workbench.serving.protocol.parts import End, Part, Piece
from paragone_workbench.serving.protocol.requests import AnswerRequest
from paragone_workbench.serving.protocol.token_scores import chat_logprobs, completion_logprobs


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
        """Return the event of a stream for a part."""
        if isinstance(part, End):
            self._ends.append(part)
        event = {**self._head, "object": self._event, "choices": [self._event_choice(part)]}
        return {**event, "usage": None} if self._request.stream_usage else event

    def last_events(self) -> Iterable[Json]:
        """Yield the event after the ends of all answers: the token counts, if the request asks for them."""
        if self._request.stream_usage:
            yield {**self._head, "object": self._event, "choices": [], "usage": self._usage()}

    def whole(self, parts: Iterable[Part]) -> Json:
        """Return the whole reply, which is not a stream, from all parts."""
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
        """Return the entry of a part in the `choices` of an event."""

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
    """The reply to a request for completions."""

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
    """Return an empty reply to a request to this model."""
    return (ChatReply if request.is_chat else CompletionReply)(request, model)
