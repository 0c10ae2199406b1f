"""The worker: reads jobs from the pipe to the application, and runs them on the thread that owns the engine."""

from __future__ import annotations

import contextlib
import importlib
import io
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
from paragone.events import Event, Token
from paragone.options import Options, build
from paragone.worker import protocol
from paragone.worker import protocol as jobs

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

    from paragone.models import LoadedModel, MemoryEstimate


class Stop(Cancelled):
    """Whether the current job must stop. The thread that reads the pipe sets this flag."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._set = False
        self._on_cancel: Callable[[], None] | None = None

    def __bool__(self) -> bool:
        return self._set

    def subscribe(self, on_cancel: Callable[[], None]) -> None:
        with self._lock:
            self._on_cancel = on_cancel
            already = self._set
        if already:
            on_cancel()

    def set(self) -> None:
        with self._lock:
            self._set = True
            on_cancel = self._on_cancel
        if on_cancel is not None:
            on_cancel()


class Job:
    def __init__(self, command: protocol.WorkerCommand) -> None:
        self.number = command.job
        self.do = command.do
        self.request = command.request
        self.stop = Stop()
        self.free_slots = threading.Semaphore(protocol.SLOTS)
        """Counts the slots of the shared buffer that the worker may fill."""


FRAME = 0.033
"""Shortest time in seconds between two messages with tokens. The first token, and a slower token, are sent at once."""

MOST = 256
"""Largest number of events in a message. The application's screen cannot react while the application reads a message."""

LATE = 0.2
"""Seconds after which a separate thread sends the waiting tokens, if the engine has stalled."""


class Pipe:
    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._lock = threading.Lock()

    def say(self, message: protocol.WorkerMessage) -> None:
        """Send one message. End the process if the application has closed the pipe."""
        line = protocol.dump_message(message)
        with self._lock:
            try:
                self._connection.sendall(line)
            except OSError:
                os._exit(0)

    def commands(self) -> Iterator[protocol.WorkerCommand]:
        with io.BufferedReader(_Incoming(self._connection)) as stream:
            yield from map(protocol.load_command, stream)


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
            self._pipe.say(protocol.Events(job=self._job, events=tuple(self._waiting)))
            self._waiting = []
            self._sent = time.monotonic()


class Slots:
    """Fills the shared buffer, slot by slot, and fills a slot again after the application has read the slot."""

    def __init__(self, pipe: Pipe, job: Job, buffer: str) -> None:
        """Map the shared buffer, whose path is `buffer`. Raises OSError."""
        self._pipe = pipe
        self._job = job
        self._buffer = protocol.SharedBuffer.open(buffer)
        self._next = 0

    def send(self, block: requests.LogitsBlock) -> bool:
        """Send a block, in parts if it exceeds a slot. Return False if the job was stopped."""
        row = 4 * block.vocab_size
        most = protocol.SLOT_BYTES // row
        if not most:
            raise errors.EngineError(f"A distribution over {block.vocab_size:,} tokens is too large to send.")
        numbers = block.data.cast("B")
        for first in range(0, block.rows, most):
            rows = min(most, block.rows - first)
            self._job.free_slots.acquire()
            if self._job.stop:
                return False
            self._buffer.slot(self._next, rows * row)[:] = numbers[first * row : (first + rows) * row]
            self._pipe.say(
                protocol.FilledSlot(
                    job=self._job.number,
                    slot=self._next,
                    start=block.start + first,
                    rows=rows,
                    vocab_size=block.vocab_size,
                )
            )
            self._next = (self._next + 1) % protocol.SLOTS
        return True


CLOSE_SECONDS = 1.0
"""Seconds that an engine has to close after the application has closed the pipe."""

AnyEngine: TypeAlias = Engine[Options, Options]

R = TypeVar("R", bound=wire.Value)
A = TypeVar("A", bound=wire.Value)


def serve(descriptor: int, engine: str) -> None:
    """Run jobs for the application at the other end of a socket, until the socket closes. `engine` is `module:Class`."""
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)  # child processes of the engine must not keep the pipe open
    pipe = Pipe(connection)
    waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    pipe.say(protocol.Hello(version=protocol.VERSION))
    threading.Thread(target=_listen, args=(pipe, waiting), daemon=True).start()
    runner = JobRunner(pipe, engine)
    while (job := waiting.get()) is not None:
        runner.do(job)
    runner.close()
    os._exit(0)  # skips the engine's atexit handlers: some of them hang


def _listen(pipe: Pipe, waiting: queue.SimpleQueue[Job | None]) -> None:
    """Read messages in a separate thread, so that a stop request arrives during a job, and a ping is answered."""
    last: Job | None = None
    for command in pipe.commands():
        if command.do == "ping":
            pipe.say(protocol.Pong(job=command.job))
        elif command.do not in ("stop", "taken"):
            last = Job(command)
            waiting.put(last)
        elif last is not None and last.number == command.job:
            if command.do == "stop":
                last.stop.set()
            last.free_slots.release()  # a stopped job may be waiting for a slot
    if last is not None:
        last.stop.set()
        last.free_slots.release()
    waiting.put(None)
    time.sleep(CLOSE_SECONDS)
    os._exit(0)


class JobRunner:
    def __init__(self, pipe: Pipe, engine: str) -> None:
        self._pipe = pipe
        self._name = engine
        self._engine: AnyEngine | None = None
        self._handlers: dict[str, Callable[[Job], wire.Json]] = dict(
            (
                _handler(jobs.PROBE, lambda job, request: self._kind().probe()),
                _handler(jobs.LOAD, self._load),
                _handler(jobs.ESTIMATE, self._estimate),
                _handler(jobs.RUN, self._run),
                _handler(
                    jobs.SCORE,
                    lambda job, request: self._send_events(job, self._open().score(request, job.stop)),
                ),
                _handler(jobs.EMBED, lambda job, request: self._open().embed(request, job.stop)),
                _handler(jobs.TOKENIZE, lambda job, request: self._open().tokenize(request)),
                _handler(jobs.VOCABULARY, lambda job, request: self._open().vocabulary()),
                _handler(jobs.DISTRIBUTIONS, self._distributions),
            )
        )

    def do(self, job: Job) -> None:
        try:
            self._pipe.say(protocol.Completed(job=job.number, answer=self._handlers[job.do](job)))
        except errors.ParagoneError as error:
            self._fail(job, error)
        except errors.InterfaceViolation as error:
            sentence = f"The engine {self._name} breaks the plugin interface: {error}."
            self._fail(job, errors.EngineError(sentence, hint="Report it to the engine's author."))
        except ImportError as error:
            self._fail(job, errors.EngineError(f"{error.msg.rstrip('.')}, in {sys.executable}."))
        except Exception as error:  # noqa: BLE001 (the outermost handler of a worker)
            sentence = f"The engine failed: {type(error).__name__}: {error}".strip(": \n").rstrip(".") + "."
            self._fail(job, errors.EngineError(sentence))

    def close(self) -> None:
        if self._engine is not None:
            self._engine.close()

    def _fail(self, job: Job, error: errors.ParagoneError) -> None:
        import traceback  # imported here because most workers never need this import

        traceback.print_exc()
        self._pipe.say(protocol.Failed(job=job.number, error=error))

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
            self._pipe.say(protocol.Progress(job=job.number, fraction=fraction))

        loaded = engine.load(request, options, report, job.stop)
        self._engine = engine
        return loaded

    def _estimate(self, job: Job, request: requests.OpenRequest) -> MemoryEstimate:
        kind = self._kind()
        return kind.estimate(request, build(kind.load_options, request.options))

    def _run(self, job: Job, request: requests.RunRequest) -> protocol.Nothing:
        engine = self._open()
        sampling = build(engine.sampling, request.sampling)
        return self._send_events(job, engine.generate(request, sampling, job.stop))

    def _send_events(self, job: Job, events: Iterator[Event]) -> protocol.Nothing:
        frames = Frames(self._pipe, job.number)
        try:
            for event in events:
                frames.add(checks.check_event(event))
        finally:
            frames.close()
        return protocol.Nothing()

    def _distributions(self, job: Job, request: protocol.SharedDistributions) -> protocol.Nothing:
        slots = Slots(self._pipe, job, request.buffer)
        # Close the generator here, so that its cleanup ends before the next job; garbage collection might be later.
        with contextlib.closing(_generator(self._open().distributions(request.request, job.stop))) as blocks:
            for block in blocks:
                if not slots.send(block):
                    break
        return protocol.Nothing()


def _handler(
    kind: protocol.JobKind[R, A], run: Callable[[Job, R], A]
) -> tuple[str, Callable[[Job], wire.Json]]:
    """Return the name of a kind of job, and a function that runs such a job and returns its answer as JSON."""
    return kind.name, lambda job: wire.to_json(run(job, wire.from_json(kind.request, job.request)))


def _generator(blocks: Iterator[requests.LogitsBlock]) -> Generator[requests.LogitsBlock, None, None]:
    """Return a generator over `blocks`. Closing the generator also closes `blocks`, if they have a `close` method."""
    yield from blocks
