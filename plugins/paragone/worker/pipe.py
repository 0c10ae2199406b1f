"""The worker's end of the connection to the application."""

from __future__ import annotations

import json
import os
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from typing import Any

from paragone.distributions import LogitsBlock
from paragone.errors import EngineError
from paragone.events import Event
from paragone.wire import Json
from paragone.worker.job import Job
from paragone.worker.protocol import dump_event
from paragone.worker.shared import SLOT_BYTES, SLOTS, SharedBuffer

__all__ = ["Frames", "Pipe", "Slots"]

FRAME = 0.016
"""Seconds that tokens are gathered for, at most, before they are sent."""


class Pipe:
    """The connection to the application, one JSON object a line."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def say(self, what: str, **fields: Json) -> None:
        """Send one message. The end of the application is noticed by the reading side."""
        line = json.dumps({"say": what, **fields}, separators=(",", ":")).encode() + b"\n"
        with self._lock:
            try:
                self._connection.sendall(line)
            except OSError:
                os._exit(0)

    def lines(self) -> Iterator[Mapping[str, Any]]:
        """Yield the application's messages until it closes the pipe."""
        with self._connection.makefile("rb") as stream:
            for line in stream:
                yield json.loads(line)


class Frames:
    """Gathers a run's events for a frame's time, so that fast engines do not cost a write a token.

    The first event after a pause goes out at once; those that follow within a frame go together,
    at its end, from a thread of their own: the engine may be busy then for long.
    """

    def __init__(self, pipe: Pipe, job: int) -> None:
        self._pipe = pipe
        self._job = job
        self._waiting: list[Json] = []
        self._sent = 0.0
        self._open = True
        self._condition = threading.Condition()
        self._thread = threading.Thread(target=self._send_late, daemon=True)
        self._thread.start()

    def add(self, event: Event) -> None:
        """Send an event, now or with the next frame."""
        data = dump_event(event)
        with self._condition:
            self._waiting.append(data)
            if time.monotonic() - self._sent >= FRAME:
                self._flush()
            elif len(self._waiting) == 1:
                self._condition.notify()

    def close(self) -> None:
        """Send what is left."""
        with self._condition:
            self._open = False
            self._flush()
            self._condition.notify()
        self._thread.join()

    def _send_late(self) -> None:
        with self._condition:
            while self._open:
                if not self._waiting:
                    self._condition.wait()
                    continue
                wait = self._sent + FRAME - time.monotonic()
                if wait > 0:
                    self._condition.wait(wait)
                else:
                    self._flush()

    def _flush(self) -> None:
        if self._waiting:
            self._pipe.say("events", job=self._job, events=self._waiting)
            self._waiting = []
            self._sent = time.monotonic()


class Slots:
    """The shared buffer as the worker fills it: a slot at a time, once the application has read it."""

    def __init__(self, pipe: Pipe, job: Job) -> None:
        self._pipe = pipe
        self._job = job
        self._buffer = SharedBuffer.open(job.request["buffer"])
        self._next = 0

    def send(self, block: LogitsBlock) -> bool:
        """Send a block, in parts where it exceeds a slot. False when the job was stopped."""
        row = 4 * block.vocab_size
        most = SLOT_BYTES // row
        if not most:
            raise EngineError(f"A distribution over {block.vocab_size:,} tokens is too large to be sent.")
        numbers = block.data.cast("B")
        for first in range(0, block.rows, most):
            rows = min(most, block.rows - first)
            self._job.free_slots.acquire()
            if self._job.stop:
                return False
            self._buffer.slot(self._next, rows * row)[:] = numbers[first * row : (first + rows) * row]
            self._pipe.say(
                "block",
                job=self._job.number,
                slot=self._next,
                start=block.start + first,
                rows=rows,
                vocab_size=block.vocab_size,
            )
            self._next = (self._next + 1) % SLOTS
        return True
