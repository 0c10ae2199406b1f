"""The worker's end of the connection to the application."""

from __future__ import annotations

import io
import math
import os
import select
import socket
import threading
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING

from paragone.errors import EngineError
from paragone.values.events import Event, Token
from paragone.values.messages import LogitsBlock
from paragone.worker.child_process.job import Job
from paragone.worker.protocol import (
    Events,
    FilledSlot,
    WorkerCommand,
    WorkerMessage,
    dump_message,
    load_command,
)
from paragone.worker.shared import SLOT_BYTES, SLOTS, SharedBuffer

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

FRAME = 0.033
"""Shortest time in seconds between two messages with tokens. The first token, and a slower token, are sent at once."""

MOST = 256
"""Largest number of events in a message. The application's screen cannot react while the application reads a message."""

LATE = 0.2
"""Seconds after which a separate thread sends the waiting tokens, if the engine has stalled."""


class Pipe:
    """The connection to the application."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def say(self, message: WorkerMessage) -> None:
        """Send one message. End the process if the application has closed the pipe."""
        line = dump_message(message)
        with self._lock:
            try:
                self._connection.sendall(line)
            except OSError:
                os._exit(0)

    def commands(self) -> Iterator[WorkerCommand]:
        """Yield the application's commands until the application closes the pipe."""
        with io.BufferedReader(_Incoming(self._connection)) as stream:
            yield from map(load_command, stream)


class _Incoming(io.RawIOBase):
    """The incoming bytes of a socket.

    The reader waits with `poll`. The kernel would wake a thread that waits in `recv` whenever the other side has received
    something, which happens after every frame. The thread would then take a core from the engine.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._poll = select.poll()
        self._poll.register(connection, select.POLLIN)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        self._poll.poll()
        return self._connection.recv_into(buffer)


class Frames:
    """Batches a run's events, so that a fast engine does not need a message per token.

    Normally the engine's own thread sends the events between two tokens. If all cores are computing, a thread that wakes
    during a token takes a core from a compute thread, for which all other compute threads then wait. The thread of this
    class therefore wakes only after a long time without a token.
    """

    def __init__(self, pipe: Pipe, job: int) -> None:
        self._pipe = pipe
        self._job = job
        self._waiting: list[Event] = []
        self._sent = -math.inf
        self._has_begun = False
        """Whether the first token was added."""
        self._open = True
        self._watched = False
        """Whether the thread will check the waiting events without a notification."""
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._send_late, daemon=True)
        self._thread.start()

    def add(self, event: Event) -> None:
        """Send an event, now or together with the next events."""
        with self._condition:
            self._waiting.append(event)
            is_first = not self._has_begun and isinstance(event, Token)
            self._has_begun = self._has_begun or is_first
            if is_first or time.monotonic() - self._sent >= FRAME or len(self._waiting) >= MOST:
                self._flush()
            elif not self._watched:
                self._watched = True
                self._condition.notify()

    def close(self) -> None:
        """Send the remaining events."""
        with self._condition:
            self._open = False
            self._flush()
            self._condition.notify()
        self._thread.join()

    def _send_late(self) -> None:
        with self._condition:
            while self._open:
                wait = self._sent + LATE - time.monotonic()
                if not self._waiting:
                    self._watched = False
                    self._condition.wait()
                elif wait > 0:
                    self._condition.wait(wait)
                else:
                    self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._pipe.say(Events(job=self._job, events=tuple(self._waiting)))
            self._waiting = []
            self._sent = time.monotonic()


class Slots:
    """Fills the shared buffer, slot by slot, and fills a slot again after the application has read the slot."""

    def __init__(self, pipe: Pipe, job: Job, buffer: str) -> None:
        """Map the shared buffer, whose path is `buffer`. Raises OSError."""
        self._pipe = pipe
        self._job = job
        self._buffer = SharedBuffer.open(buffer)
        self._next = 0

    def send(self, block: LogitsBlock) -> bool:
        """Send a block, in parts if it exceeds a slot. Return False if the job was stopped."""
        row = 4 * block.vocab_size
        most = SLOT_BYTES // row
        if not most:
            raise EngineError(f"A distribution over {block.vocab_size:,} tokens is too large to send.")
        numbers = block.data.cast("B")
        for first in range(0, block.rows, most):
            rows = min(most, block.rows - first)
            self._job.free_slots.acquire()
            if self._job.stop:
                return False
            self._buffer.slot(self._next, rows * row)[:] = numbers[first * row : (first + rows) * row]
            self._pipe.say(
                FilledSlot(
                    job=self._job.number,
                    slot=self._next,
                    start=block.start + first,
                    rows=rows,
                    vocab_size=block.vocab_size,
                )
            )
            self._next = (self._next + 1) % SLOTS
        return True
