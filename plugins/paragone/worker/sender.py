"""Send messages to a worker so that a failed write loses no received messages."""

from __future__ import annotations

import asyncio
import contextlib
import socket


class Sender:
    """The application's socket for sending.

    If a write fails because the process has just ended, an asyncio transport drops all received data,
    which may contain the worker's last messages. The sender therefore has its own descriptor.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection.dup()
        self._socket.setblocking(False)
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue()
        self._task = asyncio.create_task(self._send())
        self._task.add_done_callback(lambda task: self._socket.close())

    def send(self, message: bytes) -> None:
        """Queue a message for sending. Has no effect if the process has ended."""
        self._waiting.put_nowait(message)

    def close(self) -> None:
        """Stop sending."""
        self._task.cancel()

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # the reader reports the end of the process
            while True:
                await loop.sock_sendall(self._socket, await self._waiting.get())
