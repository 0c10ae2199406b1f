"""Streams of OpenAI's protocol: https://platform.openai.com/docs/api-reference."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Mapping

import httpx
from httpx_sse import EventSource, ServerSentEvent

from paragone import Json
from paragone.json_fields import JsonObject
from paragone_remote.http.faults import FAULTS
from paragone_remote.http.replies import read_object

_NOT_THE_PROTOCOL = "data that is not valid in OpenAI's protocol"

_END_PATIENCE = 1.0
"""Seconds to wait for the end of a reply after its last event."""


async def streamed(
    http: httpx.AsyncClient, path: str, body: Mapping[str, Json], *, hangs_up: bool
) -> AsyncGenerator[JsonObject, None]:
    """Yield the parts of a streamed answer, each a JSON object. Raises the exceptions in `faults.FAULTS`.

    `hangs_up` says that the server closes the connection after a stream, although the server announces keep-alive.
    """
    # A request is lost if it is sent on a connection that the server has closed unnoticed.
    headers = {"Connection": "close"} if hangs_up else {}
    async with http.stream("POST", path, json={**body, "stream": True}, headers=headers) as reply:
        # httpx-sse requires the media type of the protocol, which some servers do not send.
        reply.headers["content-type"] = "text/event-stream"
        async with contextlib.aclosing(EventSource(reply).aiter_sse()) as events:
            async for event in events:
                if event.data.startswith("[DONE]"):
                    await _read_to_end(events)
                    return
                yield read_object(event.data, invalid=_NOT_THE_PROTOCOL)


async def repeat_for_error(http: httpx.AsyncClient, path: str, body: Mapping[str, Json]) -> None:
    """Repeat a failed request without a stream and for one token, to get the error that the stream did not report."""
    short = {name: value for name, value in body.items() if name != "stream_options"} | {"max_tokens": 1}
    try:
        await http.post(path, json=short)
    except (httpx.ReadError, httpx.RemoteProtocolError):
        # the server was about to close the connection of the failed stream
        await http.post(path, json=short)


async def _read_to_end(events: AsyncGenerator[ServerSentEvent, None]) -> None:
    """Read the rest of a complete answer, so that the next request can use its connection."""
    with contextlib.suppress(TimeoutError, *FAULTS):
        async with asyncio.timeout(_END_PATIENCE):
            async for _ in events:
                pass
