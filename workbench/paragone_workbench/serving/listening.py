"""Listens at an address, and serves the application there."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.applications import Starlette

from paragone import InputError
from paragone.network.addresses import bracketed
from paragone.network.guard import GUARD
from paragone_workbench.serving.connection import Connection

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
    """Whether only this machine can reach a socket."""
    return ipaddress.ip_address(listener.getsockname()[0]).is_loopback


def address_of(listener: socket.socket) -> str:
    """Return where a socket listens, as `HOST:PORT`."""
    host, port = listener.getsockname()[:2]
    return f"{bracketed(host)}:{port}"


class Server(uvicorn.Server):
    """Serves an application until `should_exit` is set. The caller handles signals."""

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
        """Begin to accept connections."""
        await super().startup(sockets)
        self._on_start()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the caller."""
        yield
