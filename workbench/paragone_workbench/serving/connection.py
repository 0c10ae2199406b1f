"""A connection of a client: how long the server waits for the client, and how many connections there may be."""

from __future__ import annotations

import asyncio
import resource

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from paragone.wire import json_text
from paragone_workbench.serving.protocol.api_error import ApiError

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
        """Accept a connection, or refuse it if there are too many."""
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
        """Process data from the client."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._end_waiting()
        elif self._head is None:
            self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Cancel the timers."""
        self._end_waiting()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Close the connection if the client reads nothing for `STALLED_S` seconds."""
        super().pause_writing()
        self._stalled = self.loop.call_later(STALLED_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Cancel the timers: the client has read."""
        self._end_waiting()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Refuse data that is not HTTP."""
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
