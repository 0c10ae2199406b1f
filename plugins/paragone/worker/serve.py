"""The worker: reads jobs from the pipe to the application, and runs them on the thread that owns the engine."""

from __future__ import annotations

import contextlib
import importlib
import math
import os
import queue
import select
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from paragone import checks, errors, requests, wire
from paragone.engine import Cancelled, Engine
from paragone.events import Event, LoadProgress, Token
from paragone.options import Options, build
from paragone.worker import protocol

if TYPE_CHECKING:
    from paragone.models import LoadedModel, MemoryEstimate


FRAME = 0.033
"""Shortest time in seconds between two messages with tokens. The first token, and a token that comes later than that,
are sent immediately."""

LATE = 0.2
"""Seconds after which a separate thread sends the waiting tokens, if the engine has stalled."""


class Job(Cancelled):
    """A job. The thread that reads the pipe stops it.

    Its events are sent in batches, so that a fast engine does not need a message per token. Normally the engine's own
    thread sends the events between two tokens. A thread that wakes during a token would take a core from a compute thread,
    for which all other compute threads then wait. The separate thread therefore wakes only after a long time without a
    token.

    """

    def __init__(
        self, command: protocol.WorkerCommand, say: Callable[[protocol.WorkerMessage], None]
    ) -> None:
        self.do, self.number, self.request = command
        self.free_slots = threading.Semaphore(protocol.SLOTS)
        """Counts the slots of the shared buffer that the worker may fill."""
        self._lock = threading.Lock()
        self._is_stopped = False
        self._on_cancel: Callable[[], None] | None = None
        self._say = say
        self._events: list[Event] = []
        """The events that wait."""
        self._sent = -math.inf
        self._has_begun = False
        """Whether the first token was added."""
        self._ended = False
        self._watched = False
        self._changed = threading.Condition()

    def __bool__(self) -> bool:
        return self._is_stopped

    def subscribe(self, on_cancel: Callable[[], None]) -> None:
        with self._lock:
            self._on_cancel = on_cancel
        if self._is_stopped:
            on_cancel()

    def stop(self) -> None:
        with self._lock:
            self._is_stopped = True
            on_cancel = self._on_cancel
        if on_cancel is not None:
            on_cancel()
        self.free_slots.release()  # the job may be waiting for a slot

    def send(self, events: Iterator[Event]) -> None:
        """Send events, immediately or together with the next events."""
        late = threading.Thread(target=self._send_late, daemon=True)
        late.start()
        try:
            for event in events:
                self.add(checks.check_event(event))
        finally:
            with self._changed:
                self._ended = True
                self._flush()
                self._changed.notify()
            late.join()

    def add(self, event: Event) -> None:
        with self._changed:
            self._events.append(event)
            is_first = not self._has_begun and isinstance(event, Token)
            self._has_begun = self._has_begun or is_first
            is_due = time.monotonic() - self._sent >= FRAME or len(self._events) >= protocol.MOST_ITEMS
            if is_first or is_due:
                self._flush()
            elif not self._watched:
                self._watched = True
                self._changed.notify()

    def _send_late(self) -> None:
        with self._changed:
            while not self._ended:
                wait = self._sent + LATE - time.monotonic()
                if not self._events:
                    self._watched = False
                    self._changed.wait()
                elif wait > 0:
                    self._changed.wait(wait)
                else:
                    self._flush()

    def _flush(self) -> None:
        if self._events:
            self._say(protocol.WorkerMessage(self.number, items=tuple(self._events)))
            self._events = []
            self._sent = time.monotonic()


CLOSE_SECONDS = 1.0
"""Seconds that an engine has to close after the application has closed the pipe."""

AnyEngine: TypeAlias = Engine[Options, Options]
Handler: TypeAlias = Callable[[Job], wire.Value | None]

R = TypeVar("R", bound=wire.Value)


def serve(descriptor: int, engine: str) -> None:
    """Run jobs for the application at the other end of a socket, until the socket closes. `engine` is `module:Class`."""
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)  # child processes of the engine must not keep the pipe open
    runner = JobRunner(connection, engine)
    runner.send_message(protocol.WorkerMessage(version=protocol.VERSION))
    threading.Thread(target=runner.listen, daemon=True).start()
    while (job := runner.waiting.get()) is not None:
        runner.execute(job)
    runner.close()
    os._exit(0)  # skips the engine's atexit handlers: some of them hang


class JobRunner:
    def __init__(self, connection: socket.socket, engine: str) -> None:
        self.waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._connection = connection
        self._lock = threading.Lock()
        self._name = engine
        self._engine: AnyEngine | None = None
        self._handlers: dict[str, Handler] = {
            "probe": lambda job: self._kind().probe(),
            "load": _given(requests.OpenRequest, self._load),
            "estimate": _given(requests.OpenRequest, self._estimate),
            "run": _given(requests.RunRequest, self._run),
            "score": _given(
                requests.ScoreRequest, lambda job, given: job.send(self._open().score(given, job))
            ),
            "tokenize": _given(requests.TokenizeRequest, lambda job, given: self._open().tokenize(given)),
            "embed": _given(requests.EmbedRequest, lambda job, given: self._open().embed(given, job)),
            "vocabulary": lambda job: self._open().vocabulary(),
            "distributions": _given(requests.DistributionsRequest, self._distributions),
        }

    def send_message(self, message: protocol.WorkerMessage) -> None:
        """Send one message. End the process if the application has closed the pipe."""
        line = protocol.dump_message(message)
        with self._lock:
            try:
                self._connection.sendall(line)
            except OSError:
                os._exit(0)

    def listen(self) -> None:
        """Read messages in a separate thread, so that a stop request arrives during a job, and a ping is answered."""
        last: Job | None = None
        for do, number, request in self._commands():
            if do == "ping":
                self.send_message(protocol.WorkerMessage(number))
            elif do not in ("stop", "taken"):
                last = Job((do, number, request), self.send_message)
                self.waiting.put(last)
            elif last is not None and last.number == number:
                if do == "stop":
                    last.stop()
                else:
                    last.free_slots.release()
        if last is not None:
            last.stop()
        self.waiting.put(None)
        time.sleep(CLOSE_SECONDS)
        os._exit(0)

    def _commands(self) -> Iterator[protocol.WorkerCommand]:
        """Yield the messages of the application until it closes the pipe.

        The kernel would wake a thread that waits in `recv` whenever the other side has received a message, that is after every
        frame. The thread would then take a core from the engine. Therefore it waits in `poll`.
        """
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        line = bytearray()
        while poll.poll() and (received := self._connection.recv(1 << 18)):
            *ends, start = received.split(b"\n")
            for end in ends:
                yield protocol.load_command(line + end)
                line.clear()
            line += start

    def execute(self, job: Job) -> None:
        try:
            answer = self._handlers[job.do](job)
            data = {} if answer is None else wire.to_json(answer)
            self.send_message(protocol.WorkerMessage(job.number, answer=data))
        except Exception as error:  # noqa: BLE001 (the outermost handler of a worker)
            import traceback  # imported here because most workers never need this import

            traceback.print_exc()
            self.send_message(protocol.WorkerMessage(job.number, error=self._explained(error)))

    def _explained(self, error: Exception) -> errors.ParagoneError:
        if isinstance(error, errors.ParagoneError):
            return error
        if isinstance(error, errors.InterfaceViolation):
            message = f"The engine {self._name} breaks the plugin interface: {error}."
            return errors.EngineError(message, hint="Report it to the engine's author.")
        if isinstance(error, ImportError):
            return errors.EngineError(f"{error.msg.rstrip('.')}, in {sys.executable}.")
        message = f"The engine failed: {type(error).__name__}: {error}"
        return errors.EngineError(message.strip(": \n").rstrip(".") + ".")

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()

    def _kind(self) -> type[AnyEngine]:
        module, _, name = self._name.partition(":")
        return cast("type[AnyEngine]", getattr(importlib.import_module(module), name))

    def _open(self) -> AnyEngine:
        if self._engine is None:
            raise errors.EngineError("No model is open in this worker.")
        return self._engine

    def _load(self, job: Job, request: requests.OpenRequest) -> LoadedModel:
        engine = self._kind()()
        options = build(engine.load_options, request.options)

        def report(fraction: float) -> None:
            progress = LoadProgress(fraction=fraction)
            self.send_message(protocol.WorkerMessage(job.number, items=(progress,)))

        loaded = engine.load(request, options, report, job)
        self._engine = engine
        return loaded

    def _estimate(self, job: Job, request: requests.OpenRequest) -> MemoryEstimate:
        kind = self._kind()
        return kind.estimate(request, build(kind.load_options, request.options))

    def _run(self, job: Job, request: requests.RunRequest) -> None:
        engine = self._open()
        sampling = build(engine.sampling, request.sampling)
        job.send(engine.generate(request, sampling, job))

    def _distributions(self, job: Job, request: requests.DistributionsRequest) -> None:
        """Fill the shared buffer, slot by slot, and a slot again after the application has read the slot."""
        assert isinstance(job.request, dict)
        buffer, slot = protocol.SharedBuffer.open(job.request["buffer"]), 0
        # Close the generator here, so that its cleanup ends before the next job; garbage collection might be later.
        with contextlib.closing(_parts(self._open().distributions(request, job))) as parts:
            for start, rows, vocab_size, numbers in parts:
                job.free_slots.acquire()
                if job:
                    return
                buffer.slot(slot, len(numbers))[:] = numbers
                filled = protocol.FilledSlot(slot=slot, start=start, rows=rows, vocab_size=vocab_size)
                self.send_message(protocol.WorkerMessage(job.number, items=(filled,)))
                slot = (slot + 1) % protocol.SLOTS


def _given(kind: type[R], run: Callable[[Job, R], wire.Value | None]) -> Handler:
    """Return the handler that calls `run` with the request of a job."""
    return lambda job: run(job, wire.from_json(kind, job.request))


def _parts(blocks: Iterator[requests.LogitsBlock]) -> Generator[tuple[int, int, int, memoryview], None, None]:
    """Yield the start, the rows, the columns and the numbers of each block, in parts if it exceeds a slot."""
    try:
        for block in blocks:
            row = 4 * block.vocab_size
            most = protocol.SLOT_BYTES // row
            if not most:
                raise errors.EngineError(
                    f"A distribution over {block.vocab_size:,} tokens is too large to send."
                )
            numbers = block.data.cast("B")
            for first in range(0, block.rows, most):
                rows = min(most, block.rows - first)
                yield block.start + first, rows, block.vocab_size, numbers[first * row : (first + rows) * row]
    finally:
        if isinstance(blocks, Generator):
            blocks.close()
