"""A backend whose engine is native: what its author subclasses to have it run in a worker."""

from __future__ import annotations

import asyncio
import contextlib
from abc import abstractmethod
from collections.abc import AsyncGenerator, Sequence
from typing import ClassVar

from paragone.backend import Backend, OnProgress, OpenEngine, Probe
from paragone.errors import EngineError, ParagoneError
from paragone.events import Event, LoadProgress, Token
from paragone.messages import Message, OpenRequest, RunRequest, ScoreRequest
from paragone.models import LoadedModel, ModelInfo
from paragone.options import build
from paragone.wire import from_json, to_json
from paragone.worker.client import Worker
from paragone.worker.environment import Environment
from paragone.worker.protocol import load_event

__all__ = ["NativeBackend"]


class NativeBackend(Backend):
    """A backend that names an `Engine` and leaves its process to the worker."""

    engine: ClassVar[str] = ""
    """The engine's class, as `module:Class`. The application never imports that module."""
    install: ClassVar[str] = ""
    """What to do where the engine's library is missing."""
    environment: ClassVar[Environment | None] = None
    """What a virtual environment for the engine is made of, where it should have one of its own."""

    @abstractmethod
    def find_models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        """List the models in these folders and below. Blocking; called in a thread."""

    async def models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        """List the models in these folders."""
        return await asyncio.to_thread(self.find_models, folders)

    async def probe(self, python: str | None = None) -> Probe:
        """Ask the engine itself, in a worker that ends with its answer."""
        try:
            worker = await self._start(python, None)
        except ParagoneError as error:
            return Probe(usable=False, reason=error.sentence, remedy=error.hint)
        try:
            return from_json(Probe, (await worker.answer("probe"))["probe"])
        except ParagoneError as error:
            return Probe(usable=False, reason=error.sentence, remedy=error.hint or self.install)
        finally:
            await worker.close()

    async def open(self, request: OpenRequest, on_progress: OnProgress) -> OpenEngine:
        """Open a model in a worker of its own."""
        build(self.load_options, request.options, owner=self.title)
        worker = await self._start(request.python, request.log)
        try:
            async with contextlib.aclosing(worker.job("load", request=to_json(request))) as messages:
                async for message in messages:
                    if message["say"] == "progress":
                        on_progress(LoadProgress(fraction=message["fraction"]))
                    else:
                        return WorkerEngine(worker, from_json(LoadedModel, message["loaded"]))
        except BaseException:
            await worker.close()
            raise
        raise EngineError("The engine's process gave no answer.")

    async def _start(self, python: str | None, log: str | None) -> Worker:
        packages = ("paragone", self.engine.partition(".")[0].partition(":")[0])
        return await Worker.start(self.engine, packages, python=python, log=log)


class WorkerEngine(OpenEngine):
    """An engine that is open in a worker."""

    def __init__(self, worker: Worker, loaded: LoadedModel) -> None:
        self.loaded = loaded
        self.worker = worker

    async def run(self, request: RunRequest) -> AsyncGenerator[Event, None]:
        """Answer a prompt."""
        async with contextlib.aclosing(self.worker.job("run", request=to_json(request))) as messages:
            async for message in messages:
                if message["say"] == "events":
                    for data in message["events"]:
                        yield load_event(data)

    async def stop(self) -> None:
        """Ask the present run to end early; a worker that does not obey is killed."""
        await self.worker.stop()

    async def count(self, messages: Sequence[Message]) -> int:
        """Return the length in tokens of the prompt that these messages make."""
        answer = await self.worker.answer("count", messages=[to_json(message) for message in messages])
        return int(answer["tokens"])

    async def score(self, request: ScoreRequest) -> tuple[Token, ...]:
        """Return the tokens of a given text with their log-probabilities."""
        answer = await self.worker.answer("score", request=to_json(request))
        tokens = (load_event(data) for data in answer["tokens"])
        return tuple(token for token in tokens if isinstance(token, Token))

    async def close(self) -> None:
        """End the worker, and with it all that the engine held."""
        await self.worker.close()
