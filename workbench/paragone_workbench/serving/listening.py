"""Listens at an address, and serves the application there: bodies of requests, responses, and the server itself."""

import asyncio
import contextlib
import errno
import ipaddress
import socket
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from typing import TypeVar

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from paragone import InputError, Json
from paragone.network import GUARD, bracketed
from paragone.wire import json_text
from paragone_workbench.serving.requests import ApiError

T = TypeVar("T")

_MOST_DROPPED = 64 << 20
"""How many bytes of a refused body are read: many clients send the whole body before they read a response."""


def json_response(data: Json, status: int = 200) -> Response:
    return Response(_encoded(data), status, media_type="application/json")


class EventStream(StreamingResponse):
    """A response with server-sent events and `[DONE]` at their end. If the client leaves, the generator is closed."""

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[Json, None]) -> None:
        super().__init__(_lines(events), headers={"cache-control": "no-cache"})
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with contextlib.aclosing(self._events):
            await super().__call__(scope, receive, send)


async def _lines(events: AsyncGenerator[Json, None]) -> AsyncGenerator[bytes, None]:
    async for event in events:
        # Let other tasks run: sending may never suspend this task, for example if the client has left.
        await asyncio.sleep(0)
        yield b"data: " + _encoded(event) + b"\n\n"
    yield b"data: [DONE]\n\n"


async def read_body(receive: Receive, largest: int) -> bytes:
    """Return the body of a request. Raises ApiError if the body is larger, and ClientDisconnect if the client leaves."""
    body = bytearray()
    size, more = 0, True
    while more and size <= _MOST_DROPPED:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnect
        part: bytes = message.get("body", b"")
        size += len(part)
        if size <= largest:
            body += part
        more = message.get("more_body", False)
    if size > largest:
        raise ApiError(413, f"The request is larger than {largest >> 20} MiB.", code="request_too_large")
    return bytes(body)


async def unless_left(receive: Receive, work: Awaitable[T]) -> T:
    """Return the result of `work`. If the client leaves meanwhile, cancel the work and raise ClientDisconnect."""
    working, leaving = asyncio.ensure_future(work), asyncio.ensure_future(_left(receive))
    try:
        await asyncio.wait((working, leaving), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            return working.result()
        raise ClientDisconnect
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
MOST_CONNECTIONS = 256
"""uvicorn refuses requests from this number of connections, or of requests in progress."""
_MOST_OPEN = 2 * MOST_CONNECTIONS
"""Further connections are closed, so that the process does not run out of file descriptors."""
STALLED_S = 60
"""Seconds after which Linux closes the connection of a client that does not receive its answer."""

_CAUSES = {
    errno.EADDRINUSE: ("the port is in use.", "Choose another port with --port; 0 takes a free port."),
    errno.EADDRNOTAVAIL: ("the address does not belong to this machine.", "Omit --host for 127.0.0.1."),
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
            hint="Write an address of this machine: 127.0.0.1 for access only from this machine, 0.0.0.0 for all its networks.",
        ) from error
    if GUARD.is_offline and not (GUARD.allows_loopback and address.is_loopback):
        raise InputError(
            f"paragone is offline, and does not listen at {address}.",
            hint="Go online, or set `local_servers = true` under [network], which allows 127.0.0.1 offline.",
        )
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    # asyncio sets TCP_NODELAY, so that each token is sent immediately, only if the socket names the protocol.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if sys.platform == "linux":
            listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STALLED_S * 1000)
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


class _Connection(H11Protocol):
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        if len(self.connections) > _MOST_OPEN:
            transport.close()
        timer = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)
        self.timeout_keep_alive_task = timer  # uvicorn sets this only after a response


class Server(uvicorn.Server):
    def __init__(self, app: Starlette, on_start: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=_Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                log_level="critical",  # the application reports failures
                access_log=False,
                server_header=False,
                limit_concurrency=MOST_CONNECTIONS,
                backlog=1,  # asyncio accepts up to this many connections before it does anything else
                timeout_graceful_shutdown=_GRACE_S,
            )
        )
        self._on_start = on_start

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        for listener in sockets or ():
            listener.listen()  # more than one connection may wait
        self._on_start()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
