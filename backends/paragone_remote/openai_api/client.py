"""The official OpenAI client on our HTTP client."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Mapping
from typing import Any, TypeVar, cast

import httpx
import openai
from openai import AsyncOpenAI, AsyncStream
from openai.types import Completion
from openai.types.chat import ChatCompletionChunk

from paragone import Json
from paragone_remote.endpoint import Endpoint
from paragone_remote.faults import FAULTS, GaveUp, said
from paragone_remote.transport import Garbled

__all__ = ["OpenAIClient"]

T = TypeVar("T")
R = TypeVar("R")

_NOT_THE_PROTOCOL = "something that is not of OpenAI's protocol"

_UNFIT = (ValueError, TypeError, AttributeError, KeyError, RecursionError)
"""What the official client raises where a reply is not what it should be."""


class OpenAIClient:
    """Streams of chat and of completions. What its methods raise is out of `faults.FAULTS`."""

    def __init__(self, http: httpx.AsyncClient, endpoint: Endpoint) -> None:
        # The official client takes clients of httpx as well as of its successor, but types the latter alone.
        client = cast("Any", http)
        # Its key never leaves: the transport sends the endpoint's own.
        self._client = AsyncOpenAI(
            api_key="unused", base_url=endpoint.url, http_client=client, max_retries=0, timeout=None
        )

    async def chat(self, body: Mapping[str, Json]) -> AsyncGenerator[ChatCompletionChunk, None]:
        """Yield the parts of a streamed chat answer."""
        request = self._client.post(
            "/chat/completions",
            body={**body, "stream": True},
            cast_to=ChatCompletionChunk,
            stream=True,
            stream_cls=AsyncStream[ChatCompletionChunk],
        )
        async for chunk in _chunks(request):
            yield chunk

    async def complete(self, body: Mapping[str, Json]) -> AsyncGenerator[Completion, None]:
        """Yield the parts of a streamed completion."""
        request = self._client.post(
            "/completions",
            body={**body, "stream": True},
            cast_to=Completion,
            stream=True,
            stream_cls=AsyncStream[Completion],
        )
        async for chunk in _chunks(request):
            yield chunk

    async def why(self, path: str, body: Mapping[str, Json]) -> None:
        """Make the request without a stream and for one token, for the refusal that a stream kept back."""
        short = {name: value for name, value in body.items() if name != "stream_options"} | {"max_tokens": 1}
        try:
            await _once(self._client.post(path, body=short, cast_to=object))
        except (httpx.ReadError, httpx.RemoteProtocolError):
            # the server was about to hang up on the stream that failed
            await _once(self._client.post(path, body=short, cast_to=object))


async def _chunks(request: Awaitable[AsyncStream[T]]) -> AsyncGenerator[T, None]:
    stream = await _once(request)
    try:
        while (chunk := await _once(anext(stream, None))) is not None:
            yield chunk
    finally:
        await stream.close()


async def _once(answer: Awaitable[R]) -> R:
    try:
        return await answer
    except openai.APIConnectionError as error:
        cause = error.__cause__
        if not isinstance(cause, FAULTS):
            raise Garbled(_NOT_THE_PROTOCOL) from error
    except openai.APIError as error:
        body = error.body
        raise GaveUp(body if isinstance(body, str) else said(json.dumps(body)) or error.message) from error
    except _UNFIT as error:
        raise Garbled(_NOT_THE_PROTOCOL) from error
    raise cause  # as it was: raised in the handler, it would lose what it came from
