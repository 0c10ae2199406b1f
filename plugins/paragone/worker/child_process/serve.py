"""The worker: reads jobs from the pipe, and runs them on the thread that owns the engine."""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import socket
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator
from typing import TYPE_CHECKING, TypeAlias, TypeVar, cast

from paragone.checks import check_event
from paragone.engine import Engine
from paragone.errors import EngineError, ParagoneError
from paragone.options import Options, build
from paragone.values.events import Event
from paragone.values.messages import LogitsBlock, OpenRequest, RunRequest
from paragone.violation import InterfaceViolation
from paragone.wire import Json, Value, from_json, to_json
from paragone.worker import jobs
from paragone.worker.child_process.job import Job
from paragone.worker.child_process.pipe import Frames, Pipe, Slots
from paragone.worker.jobs import JobKind, Nothing, SharedDistributions
from paragone.worker.protocol import VERSION, Completed, Failed, Hello, Pong, Progress

if TYPE_CHECKING:
    from paragone.values.memory import MemoryEstimate
    from paragone.values.models import LoadedModel

CLOSE_SECONDS = 1.0
"""Seconds that an engine has to close after the application has closed the pipe."""

AnyEngine: TypeAlias = Engine[Options, Options]

R = TypeVar("R", bound=Value)
A = TypeVar("A", bound=Value)


def serve(descriptor: int, engine: str) -> None:
    """Run jobs for the application at the other end of a socket, until the socket closes. `engine` is `module:Class`."""
    connection = socket.socket(fileno=descriptor)
    connection.set_inheritable(False)  # child processes of the engine must not keep the pipe open
    pipe = Pipe(connection)
    waiting: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
    pipe.say(Hello(version=VERSION))
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
            pipe.say(Pong(job=command.job))
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
    """Runs jobs, one after the other, on the thread that owns the engine."""

    def __init__(self, pipe: Pipe, engine: str) -> None:
        self._pipe = pipe
        self._name = engine
        self._engine: AnyEngine | None = None
        self._handlers: dict[str, Callable[[Job], Json]] = dict(
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
        """Run one job and send its answer, or the job's error."""
        try:
            self._pipe.say(Completed(job=job.number, answer=self._handlers[job.do](job)))
        except ParagoneError as error:
            self._fail(job, error)
        except InterfaceViolation as error:
            sentence = f"The engine {self._name} breaks the plugin interface: {error}."
            self._fail(job, EngineError(sentence, hint="Report it to the engine's author."))
        except ImportError as error:
            self._fail(job, EngineError(f"{error.msg.rstrip('.')}, in {sys.executable}."))
        except Exception as error:  # noqa: BLE001 (the outermost handler of a worker)
            sentence = f"The engine failed: {type(error).__name__}: {error}".strip(": \n").rstrip(".") + "."
            self._fail(job, EngineError(sentence))

    def close(self) -> None:
        """Close the engine."""
        if self._engine is not None:
            self._engine.close()

    def _fail(self, job: Job, error: ParagoneError) -> None:
        import traceback  # imported here because most workers never need this import

        traceback.print_exc()
        self._pipe.say(Failed(job=job.number, error=error))

    def _kind(self) -> type[AnyEngine]:
        module, _, name = self._name.partition(":")
        return cast("type[AnyEngine]", getattr(importlib.import_module(module), name))

    def _open(self) -> AnyEngine:
        if self._engine is None:
            raise EngineError("No model is open in this worker.")
        return self._engine

    def _load(self, job: Job, request: OpenRequest) -> LoadedModel:
        engine = self._kind()()
        options = build(engine.load_options, request.options)

        def report(fraction: float) -> None:
            self._pipe.say(Progress(job=job.number, fraction=fraction))

        loaded = engine.load(request, options, report, job.stop)
        self._engine = engine
        return loaded

    def _estimate(self, job: Job, request: OpenRequest) -> MemoryEstimate:
        kind = self._kind()
        return kind.estimate(request, build(kind.load_options, request.options))

    def _run(self, job: Job, request: RunRequest) -> Nothing:
        engine = self._open()
        sampling = build(engine.sampling, request.sampling)
        return self._send_events(job, engine.generate(request, sampling, job.stop))

    def _send_events(self, job: Job, events: Iterator[Event]) -> Nothing:
        frames = Frames(self._pipe, job.number)
        try:
            for event in events:
                frames.add(check_event(event))
        finally:
            frames.close()
        return Nothing()

    def _distributions(self, job: Job, request: SharedDistributions) -> Nothing:
        slots = Slots(self._pipe, job, request.buffer)
        # Close the generator here, so that its cleanup ends before the next job; garbage collection might be later.
        with contextlib.closing(_generator(self._open().distributions(request.request, job.stop))) as blocks:
            for block in blocks:
                if not slots.send(block):
                    break
        return Nothing()


def _handler(kind: JobKind[R, A], run: Callable[[Job, R], A]) -> tuple[str, Callable[[Job], Json]]:
    """Return the name of a kind of job, and a function that runs such a job and returns its answer as JSON."""
    return kind.name, lambda job: to_json(run(job, from_json(kind.request, job.request)))


def _generator(blocks: Iterator[LogitsBlock]) -> Generator[LogitsBlock, None, None]:
    """Return a generator over `blocks`. Closing the generator also closes `blocks`, if they have a `close` method."""
    yield from blocks
