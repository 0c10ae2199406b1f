"""The worker's side: takes jobs from the pipe, has the engine do them, sends what comes of them."""

from __future__ import annotations

import importlib
import json
import os
import queue
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias, cast

from paragone.engine import Cancelled, Engine
from paragone.errors import EngineError, ParagoneError
from paragone.events import Event
from paragone.messages import DistributionsRequest, OpenRequest, RunRequest, ScoreRequest, TokenizeRequest
from paragone.options import Options, build
from paragone.wire import Json, from_json, to_json
from paragone.worker.protocol import VERSION, dump_error, dump_event
from paragone.worker.shared import SLOT_BYTES, SLOTS, SharedBuffer

__all__ = ["serve"]

FRAME = 0.016
"""Seconds that tokens are gathered for, at most, before they are sent."""

LAST_WORDS = 1.0
"""Seconds that an engine has to close once the application is gone."""

AnyEngine: TypeAlias = Engine[Options, Options]


class Stop(Cancelled):
    """Whether the present job is to end; set by the thread that reads the pipe."""

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
        """Ask the job to end."""
        with self._lock:
            self._set = True
            on_cancel = self._on_cancel
        if on_cancel is not None:
            on_cancel()


class Job:
    """Something that the application asked for."""

    def __init__(self, request: Mapping[str, Any]) -> None:
        self.request = request
        self.number: int = request["job"]
        self.stop = Stop()
        self.free_slots = threading.Semaphore(SLOTS)
        """Slots of the shared buffer that may be filled."""


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


def serve(descriptor: int, engine: str) -> None:
    """Serve the application at the other end of a socket until it goes; `engine` is `module:Class`."""
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)  # what the engine starts must not hold the pipe open
    pipe = Pipe(connection)
    jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    pipe.say("hello", version=VERSION, pid=os.getpid(), python=sys.version.split()[0])
    threading.Thread(target=_listen, args=(pipe, jobs), daemon=True).start()
    worker = _Worker(pipe, engine)
    while (job := jobs.get()) is not None:
        worker.do(job)
    worker.close()
    os._exit(0)  # not by way of the engine's atexit handlers, which have been seen to hang


def _listen(pipe: Pipe, jobs: queue.SimpleQueue[Job | None]) -> None:
    """Take messages off the pipe, so that a stop is heard in the middle of a job."""
    last: Job | None = None
    for message in pipe.lines():
        if message["do"] not in ("stop", "taken"):
            last = Job(message)
            jobs.put(last)
        elif last is not None and last.number == message["job"]:
            if message["do"] == "stop":
                last.stop.set()
            last.free_slots.release()  # also for a job that waits for one as it is stopped
    if last is not None:
        last.stop.set()
        last.free_slots.release()
    jobs.put(None)
    time.sleep(LAST_WORDS)
    os._exit(0)


class _Worker:
    """Does jobs, one after the other, on the thread that owns the engine."""

    def __init__(self, pipe: Pipe, engine: str) -> None:
        self._pipe = pipe
        self._name = engine
        self._engine: AnyEngine | None = None

    def do(self, job: Job) -> None:
        """Do one job. Whatever goes wrong becomes its answer."""
        do: dict[str, Callable[[Job], None]] = {
            "probe": self._probe,
            "load": self._load,
            "estimate": self._estimate,
            "run": self._run,
            "score": self._score,
            "tokenize": self._tokenize,
            "vocabulary": self._vocabulary,
            "distributions": self._distributions,
        }
        try:
            do[job.request["do"]](job)
        except ParagoneError as error:
            self._fail(job, error)
        except ImportError as error:
            self._fail(job, EngineError(f"{error.msg.rstrip('.')}, in {sys.executable}."))
        except Exception as error:  # noqa: BLE001 (the outermost edge of a worker)
            sentence = f"The engine failed: {type(error).__name__}: {error}".strip(": \n").rstrip(".") + "."
            self._fail(job, EngineError(sentence))

    def close(self) -> None:
        """Let the engine close."""
        if self._engine is not None:
            self._engine.close()

    def _fail(self, job: Job, error: ParagoneError) -> None:
        traceback.print_exc()
        self._pipe.say("failed", job=job.number, error=dump_error(error))

    def _kind(self) -> type[AnyEngine]:
        module, _, name = self._name.partition(":")
        return cast("type[AnyEngine]", getattr(importlib.import_module(module), name))

    def _open(self) -> AnyEngine:
        if self._engine is None:
            raise EngineError("No model is open in this worker.")
        return self._engine

    def _probe(self, job: Job) -> None:
        self._pipe.say("probed", job=job.number, probe=to_json(self._kind().probe()))

    def _load(self, job: Job) -> None:
        request = from_json(OpenRequest, job.request["request"])
        engine = self._kind()()
        options = build(engine.load_options, request.options)

        def report(fraction: float) -> None:
            self._pipe.say("progress", job=job.number, fraction=fraction)

        loaded = engine.load(request, options, report, job.stop)
        self._engine = engine
        self._pipe.say("loaded", job=job.number, loaded=to_json(loaded))

    def _estimate(self, job: Job) -> None:
        request = from_json(OpenRequest, job.request["request"])
        kind = self._kind()
        estimate = kind.estimate(request, build(kind.load_options, request.options))
        self._pipe.say("estimated", job=job.number, estimate=to_json(estimate))

    def _run(self, job: Job) -> None:
        engine = self._open()
        request = from_json(RunRequest, job.request["request"])
        sampling = build(engine.sampling, request.sampling)
        self._send_events(job, engine.generate(request, sampling, job.stop))

    def _score(self, job: Job) -> None:
        request = from_json(ScoreRequest, job.request["request"])
        self._send_events(job, self._open().score(request, job.stop))

    def _send_events(self, job: Job, events: Iterator[Event]) -> None:
        frames = Frames(self._pipe, job.number)
        try:
            for event in events:
                frames.add(event)
        finally:
            frames.close()
        self._pipe.say("ended", job=job.number)

    def _tokenize(self, job: Job) -> None:
        request = from_json(TokenizeRequest, job.request["request"])
        self._pipe.say("tokenized", job=job.number, tokenized=to_json(self._open().tokenize(request)))

    def _vocabulary(self, job: Job) -> None:
        self._pipe.say("vocabulary", job=job.number, vocabulary=to_json(self._open().vocabulary()))

    def _distributions(self, job: Job) -> None:
        request = from_json(DistributionsRequest, job.request["request"])
        buffer = SharedBuffer.open(job.request["buffer"])
        slot = 0
        for block in self._open().distributions(request, job.stop):
            if job.stop:
                break
            numbers = block.data.cast("B")
            row_bytes = 4 * block.vocab_size
            step = SLOT_BYTES // row_bytes
            for first in range(0, block.rows, step):
                rows = min(step, block.rows - first)
                job.free_slots.acquire()
                if job.stop:
                    break
                buffer.slot(slot, rows * row_bytes)[:] = numbers[
                    first * row_bytes : (first + rows) * row_bytes
                ]
                self._pipe.say(
                    "block",
                    job=job.number,
                    slot=slot,
                    start=block.start + first,
                    rows=rows,
                    vocab_size=block.vocab_size,
                )
                slot = (slot + 1) % SLOTS
        self._pipe.say("ended", job=job.number)
