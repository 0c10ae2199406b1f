"""Reads the body of a client's request, streams events to the client, and finds out whether the client has left."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncGenerator, Awaitable
from typing import TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from paragone import Json
from paragone.wire import json_text
from paragone_workbench.serving.protocol.api_error import ApiError

T = TypeVar("T")

MOST_BYTES = 8 << 20
"""Largest body of a request, in bytes."""
_SPELL_S = 0.002
"""Seconds for which events are sent before other tasks have their turn."""
BODY_S = 60.0
"""Seconds that a client has to send a body."""
_MOST_DROPPED = 64 << 20
"""Bytes of a refused body that are read: many clients send the whole body before they read a response."""


class ClientLeft(Exception):
    """The client closed the connection before it had its response."""


class JsonResponse(Response):
    """A response with JSON."""

    media_type = "application/json"

    def __init__(self, data: Json, status: int = 200) -> None:
        super().__init__(_encoded(data), status)


class EventStream(Response):
    """A response with server-sent events. If the client leaves, the generator of the events is closed."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[Json, None]) -> None:
        super().__init__(headers={"cache-control": "no-cache"})
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the events, and `[DONE]` at their end."""
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        async with contextlib.aclosing(self._events):
            with contextlib.suppress(ClientLeft):
                await unless_left(receive, self._send(send))

    async def _send(self, send: Send) -> None:
        since = time.monotonic()
        async for event in self._events:
            # Other tasks get a turn here, since `send` may never suspend this task, for example if the client has left.
            if time.monotonic() - since > _SPELL_S:
                await asyncio.sleep(0)
                since = time.monotonic()
            data = b"data: " + _encoded(event) + b"\n\n"
            await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"data: [DONE]\n\n"})


async def read_body(receive: Receive, largest: int = MOST_BYTES) -> bytes:
    """Return the body of a request. Raises ApiError if the body is too large or comes too slowly, and ClientLeft if the client leaves."""
    try:
        async with asyncio.timeout(BODY_S):
            return await _read_body(receive, largest)
    except TimeoutError as error:
        sentence = f"The request did not come within {BODY_S:g} seconds."
        raise ApiError(408, sentence, code="request_timeout") from error


async def _read_body(receive: Receive, largest: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while size <= _MOST_DROPPED:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientLeft
        part: bytes = message.get("body", b"")
        size += len(part)
        if size > largest:
            parts.clear()
        else:
            parts.append(part)
        if not message.get("more_body", False):
            break
    if size > largest:
        sentence = f"The request is larger than {largest >> 20} MiB."
        raise ApiError(413, sentence, code="request_too_large")
    return b"".join(parts)


async def unless_left(receive: Receive, work: Awaitable[T]) -> T:
    """Return the result of some work. If the client leaves meanwhile, cancel the work and raise ClientLeft."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientLeft
    finally:
        working.cancel()
        leaving.cancel()
        await asyncio.gather(working, leaving, return_exceptions=True)


async def _left(receive: Receive) -> None:
    """Wait until a client has left. The whole body of the client's request must have been read before."""
    while (await receive())["type"] != "http.disconnect":
        pass


def _encoded(data: Json) -> bytes:
    return json_text(data).encode("utf-8", "replace")
