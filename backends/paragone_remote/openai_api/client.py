"""The official OpenAI client on our HTTP client."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Mapping
from typing import Any, TypeVar, cast

import httpx
import openai
from openai import AsyncOpenAI, AsyncStream

from paragone import Json
from paragone_remote.data import Data
from paragone_remote.endpoint import Endpoint
from paragone_remote.faults import FAULTS, GaveUp, said
from paragone_remote.transport import Garbled

__all__ = ["OpenAIClient"]

R = TypeVar("R")

_END = object()

_NOT_THE_PROTOCOL = "something that is not of OpenAI's protocol"

_UNFIT = (ValueError, TypeError, AttributeError, KeyError, RecursionError)
"""What the official client raises where a reply is not what it should be."""


class OpenAIClient:
    """Streams of chat and of completions. What its methods raise is out of `faults.FAULTS`."""

    def __init__(self, http: httpx.AsyncClient, endpoint: Endpoint, *, hangs_up: bool = False) -> None:
        """`hangs_up`: whether the server closes the connection after a stream, though it says that it keeps it."""
        # A request on it would be lost if it was made before the close is noticed.
        self._headers = {"Connection": "close"} if hangs_up else {}
        # The official client takes clients of httpx as well as of its successor, but types the latter alone.
        client = cast("Any", http)
        # Its key never leaves: the transport sends the endpoint's own.
        self._client = AsyncOpenAI(
            api_key="unused", base_url=endpoint.url, http_client=client, max_retries=0, timeout=None
        )

    async def stream(self, path: str, body: Mapping[str, Json]) -> AsyncGenerator[Data, None]:
        """Yield the parts of a streamed answer, each a JSON object."""
        # The client's own types are not checked, cost more than all the rest, and know no extras.
        stream = await _once(
            self._client.post(
                path,
                body={**body, "stream": True},
                cast_to=object,
                options={"headers": self._headers},
                stream=True,
                stream_cls=AsyncStream[object],
            )
        )
        try:
            while (chunk := await _once(anext(stream, _END))) is not _END:
                if not isinstance(chunk, dict):
                    raise Garbled(_NOT_THE_PROTOCOL)
                yield chunk
        finally:
            await stream.close()

    async def why(self, path: str, body: Mapping[str, Json]) -> None:
        """Make the request without a stream and for one token, for the refusal that a stream kept back."""
        short = {name: value for name, value in body.items() if name != "stream_options"} | {"max_tokens": 1}
        try:
            await _once(self._client.post(path, body=short, cast_to=object))
        except (httpx.ReadError, httpx.RemoteProtocolError):
            # the server was about to hang up on the stream that failed
            await _once(self._client.post(path, body=short, cast_to=object))


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
