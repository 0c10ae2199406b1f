"""Sending messages to a worker without losing what it has sent."""

from __future__ import annotations

import asyncio
import contextlib
import socket

__all__ = ["Sender"]


class Sender:
    """The sending half of the socket pair.

    A transport of asyncio's drops what it has received when it fails to write, as it does to a process
    that has just ended: the last messages of a worker would be lost. Hence a descriptor of its own.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._socket = connection.dup()
        self._socket.setblocking(False)
        self._waiting: asyncio.Queue[bytes] = asyncio.Queue()
        self._task = asyncio.create_task(self._send())
        self._task.add_done_callback(lambda task: self._socket.close())

    def send(self, message: bytes) -> None:
        """Send a message, soon. To a process that has ended: nothing happens."""
        self._waiting.put_nowait(message)

    def close(self) -> None:
        """Send no more."""
        self._task.cancel()

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):  # whoever reads learns of the process's end
            while True:
                await loop.sock_sendall(self._socket, await self._waiting.get())
