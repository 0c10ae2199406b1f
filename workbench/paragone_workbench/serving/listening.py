"""Listens at an address, and serves the application there. Limits how long clients are waited for, and how many connect."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import resource
import socket
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import TypeVar

import h11
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from paragone import InputError, Json
from paragone.network import GUARD, bracketed
from paragone.wire import json_text
from paragone_workbench.serving.requests import ApiError

HEAD_S = 20.0
"""Seconds that a client has to send the head of a request."""
STALLED_S = 60.0
"""Seconds after which a client that does not read its answer is cut off."""
MOST_CONNECTIONS = 256
"""Largest number of connections, on a system that allows twice as many open files."""


class Connection(H11Protocol):
    """HTTP with deadlines: slow clients hold neither a connection nor an engine. Data that is not HTTP gets an error in JSON."""

    _head: asyncio.TimerHandle | None = None
    """Ends the wait for the head of a request."""
    _stalled: asyncio.TimerHandle | None = None
    """Ends the wait for a client that reads nothing."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = MOST_CONNECTIONS if files == resource.RLIM_INFINITY else min(MOST_CONNECTIONS, files // 2)
        if len(self.connections) > most:
            self._refuse(
                503, f"The server has {most:,} connections. Try again later.", "too_many_connections"
            )
        else:
            self._await_head()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._end_waiting()
        elif self._head is None:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end_waiting()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = self.loop.call_later(STALLED_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Cancel the timers: the client has read."""
        self._end_waiting()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "The request is not valid HTTP/1.1.", "invalid_http")

    def _await_head(self) -> None:
        self._head = self.loop.call_later(
            HEAD_S,
            lambda: self._refuse(408, f"No request came within {HEAD_S:g} seconds.", "request_timeout"),
        )

    def _end_waiting(self) -> None:
        for timer in (self._head, self._stalled):
            if timer is not None:
                timer.cancel()
        self._head = self._stalled = None

    def _refuse(self, status: int, sentence: str, code: str) -> None:
        """Send an error, unless an answer has begun, and close the connection."""
        if self.transport.is_closing() or self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.close()
            return
        body = json_text(ApiError(status, sentence, code=code).to_json()).encode()
        headers = [
            ("content-type", "application/json"),
            ("content-length", str(len(body))),
            ("connection", "close"),
        ]
        for event in (
            h11.Response(status_code=status, headers=headers),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()


T = TypeVar("T")

MOST_BYTES = 8 << 20
_SPELL_S = 0.002
"""Seconds for which events are sent before other tasks have their turn."""
BODY_S = 60.0
"""Seconds that a client has to send a body."""
_MOST_DROPPED = 64 << 20
"""Bytes of a refused body that are read: many clients send the whole body before they read a response."""


class ClientLeft(Exception):
    """The client closed the connection before it had its response."""


class JsonResponse(Response):
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
    body = bytearray()
    size, more = 0, True
    try:
        async with asyncio.timeout(BODY_S):
            while more and size <= _MOST_DROPPED:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise ClientLeft
                part: bytes = message.get("body", b"")
                size += len(part)
                if size <= largest:
                    body += part
                more = message.get("more_body", False)
    except TimeoutError as error:
        sentence = f"The request did not come within {BODY_S:g} seconds."
        raise ApiError(408, sentence, code="request_timeout") from error
    if size > largest:
        sentence = f"The request is larger than {largest >> 20} MiB."
        raise ApiError(413, sentence, code="request_too_large")
    return bytes(body)


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


_GRACE_S = 5
"""Seconds that connections have to end after the server begins to stop."""

_CAUSES = {
    errno.EADDRINUSE: ("the port is in use.", "Choose another port with --port; 0 takes a free port."),
    errno.EADDRNOTAVAIL: ("the address does not belong to this machine.", "Leave out --host for 127.0.0.1."),
    errno.EACCES: ("the system does not allow it.", "Choose a port from 1024 on."),
}
"""Why an address cannot be used, and what to do, by error number."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens at an IP address of this machine, or at `localhost`. Raises InputError."""
    try:
        address = ipaddress.ip_address("127.0.0.1" if host == "localhost" else host)
    except ValueError as error:
        raise InputError(
            f"--host is not an IP address: {host}.",
            hint="Write an address of this machine: 127.0.0.1 for this machine alone, 0.0.0.0 for all its networks.",
        ) from error
    if GUARD.is_offline and not (GUARD.allows_loopback and address.is_loopback):
        raise InputError(
            f"paragone is offline, and does not listen at {address}.",
            hint="Go online, or set `local_servers = true` under [network], which allows 127.0.0.1 offline.",
        )
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    # asyncio sets TCP_NODELAY, so that each token is sent at once, only if the socket names the protocol.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(address), port))
        listener.listen()  # reserves the port while the engines are opened
    except OSError as error:
        listener.close()
        cause, hint = _CAUSES.get(error.errno or 0, (f"{error.strerror or error}.", ""))
        raise InputError(
            f"paragone cannot listen at {bracketed(str(address))}:{port}: {cause}", hint=hint
        ) from error
    return listener


def is_private(listener: socket.socket) -> bool:
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def address_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"{bracketed(host)}:{port}"


class Server(uvicorn.Server):
    def __init__(self, app: Starlette, on_start: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="critical",  # the application reports failures
                access_log=False,
                server_header=False,
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_start()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
