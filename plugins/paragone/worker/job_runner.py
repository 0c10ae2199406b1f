"""Runs the worker's jobs on the thread that owns the engine."""

from __future__ import annotations

import contextlib
import importlib
import sys
import traceback
from collections.abc import Callable, Generator, Iterator
from typing import TypeAlias, cast

from paragone.distributions import LogitsBlock
from paragone.engine import Engine
from paragone.errors import EngineError, ParagoneError
from paragone.events import Event
from paragone.messages import DistributionsRequest, OpenRequest, RunRequest, ScoreRequest, TokenizeRequest
from paragone.options import Options, build
from paragone.wire import from_json, to_json
from paragone.worker.job import Job
from paragone.worker.pipe import Frames, Pipe, Slots
from paragone.worker.protocol import dump_error

__all__ = ["JobRunner"]

AnyEngine: TypeAlias = Engine[Options, Options]


class JobRunner:
    """Runs jobs, one after the other, on the thread that owns the engine."""

    def __init__(self, pipe: Pipe, engine: str) -> None:
        self._pipe = pipe
        self._name = engine
        self._engine: AnyEngine | None = None

    def do(self, job: Job) -> None:
        """Run one job. Sends an error as its answer if it fails."""
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
        except Exception as error:  # noqa: BLE001 (the outermost handler of a worker)
            sentence = f"The engine failed: {type(error).__name__}: {error}".strip(": \n").rstrip(".") + "."
            self._fail(job, EngineError(sentence))

    def close(self) -> None:
        """Close the engine."""
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
        slots = Slots(self._pipe, job)
        # Close it here rather than in garbage collection, so that it cleans up before the next job.
        with contextlib.closing(_generator(self._open().distributions(request, job.stop))) as blocks:
            for block in blocks:
                if not slots.send(block):
                    break
        self._pipe.say("ended", job=job.number)


def _generator(blocks: Iterator[LogitsBlock]) -> Generator[LogitsBlock, None, None]:
    """Return a generator over `blocks`. Closing it also closes `blocks`, if that has a `close` method."""
    yield from blocks
