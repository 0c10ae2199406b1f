"""The official OpenAI client, which uses our HTTP client."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Mapping
from typing import Any, TypeVar, cast

import httpx
import openai
from openai import AsyncOpenAI, AsyncStream

from paragone import Json
from paragone_remote.endpoint import Endpoint
from paragone_remote.faults import FAULTS, ReportedFailure, said
from paragone_remote.json_fields import Data
from paragone_remote.transport import InvalidReply

__all__ = ["OpenAIClient"]

R = TypeVar("R")

_END = object()

_NOT_THE_PROTOCOL = "data that is not valid in OpenAI's protocol"

_UNFIT = (ValueError, TypeError, AttributeError, KeyError, RecursionError)
"""Exceptions of the official client for an invalid reply."""


class OpenAIClient:
    """Streams of chats and of completions. Its methods raise the exceptions in `faults.FAULTS`."""

    def __init__(self, http: httpx.AsyncClient, endpoint: Endpoint, *, hangs_up: bool = False) -> None:
        """Wrap an HTTP client.

        `hangs_up` says that the server closes the connection after a stream although it announces keep-alive.
        """
        # A request on such a connection is lost if it is sent before the close is noticed.
        self._headers = {"Connection": "close"} if hangs_up else {}
        # The official client accepts clients of httpx and of its successor; its types name only the latter.
        client = cast("Any", http)
        # Its key is never sent: the transport sends the endpoint's own.
        self._client = AsyncOpenAI(
            api_key="unused", base_url=endpoint.url, http_client=client, max_retries=0, timeout=None
        )

    async def stream(self, path: str, body: Mapping[str, Json]) -> AsyncGenerator[Data, None]:
        """Yield the parts of a streamed answer, each a JSON object."""
        # The client's own types are not validated, are slow to build, and lack the servers' extra fields.
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
                    raise InvalidReply(_NOT_THE_PROTOCOL)
                yield chunk
        finally:
            await stream.close()

    async def why(self, path: str, body: Mapping[str, Json]) -> None:
        """Repeat the request for one token without a stream, to get an error that the stream did not report."""
        short = {name: value for name, value in body.items() if name != "stream_options"} | {"max_tokens": 1}
        try:
            await _once(self._client.post(path, body=short, cast_to=object))
        except (httpx.ReadError, httpx.RemoteProtocolError):
            # the server was about to close the connection of the failed stream
            await _once(self._client.post(path, body=short, cast_to=object))


async def _once(answer: Awaitable[R]) -> R:
    try:
        return await answer
    except openai.APIConnectionError as error:
        cause = error.__cause__
        if not isinstance(cause, FAULTS):
            raise InvalidReply(_NOT_THE_PROTOCOL) from error
    except openai.APIError as error:
        body = error.body
        raise ReportedFailure(
            body if isinstance(body, str) else said(json.dumps(body)) or error.message
        ) from error
    except _UNFIT as error:
        raise InvalidReply(_NOT_THE_PROTOCOL) from error
    raise cause  # outside the handler, so that it keeps its own cause
