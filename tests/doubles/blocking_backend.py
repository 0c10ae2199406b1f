"""A test double: a backend of another author, whose engines block the thread in which they run."""

import asyncio
import subprocess
import threading
import time
from collections.abc import AsyncGenerator, Sequence

from paragone import (
    Backend,
    Event,
    Finish,
    LoadedModel,
    LoadProgress,
    ModelInfo,
    OnProgress,
    OpenEngine,
    OpenRequest,
    Probe,
    RunRequest,
    Token,
    TokenizedText,
    TokenizeRequest,
)

LAST = Finish(reason="stop", time=time.monotonic())


def token(text: str) -> Token:
    return Token(text=text, time=time.monotonic())


class Blocking(OpenEngine):
    """A test double of an engine that blocks its event loop where its model says so."""

    def __init__(self, model: str, end: threading.Event) -> None:
        self.loaded = LoadedModel(name=model)
        self.end = end
        self.stopped = asyncio.Event()
        self.closings = 0
        self.server = subprocess.Popen(["sleep", "10000"]) if model == "server" else None

    def _block_at(self, place: str) -> None:
        if self.loaded.name == place:
            self.end.wait()

    async def run(self, request: RunRequest) -> AsyncGenerator[Event, None]:
        self._block_at("prefill")
        yield token("one ")
        self._block_at("decode")
        if self.loaded.name == "busy":
            while not self.end.is_set():
                pass
        if self.loaded.name == "waits":
            await self.stopped.wait()
            yield Finish(reason="cancelled", time=time.monotonic())
            return
        if self.loaded.name == "endless":
            while True:
                yield token("more ")  # without ever waiting
        if self.loaded.name == "stop":
            await asyncio.sleep(3600)
        if self.loaded.name == "fails":
            raise ZeroDivisionError("on cue")
        if self.loaded.name == "slow":
            for _ in range(8):
                time.sleep(0.02)
                yield token("two ")
        yield LAST

    async def stop(self) -> None:
        self._block_at("stop")
        self.stopped.set()

    async def tokenize(self, request: TokenizeRequest) -> TokenizedText:
        self._block_at("tokenize")
        raise NotImplementedError

    async def close(self) -> None:
        self.closings += 1
        self._block_at("close")
        self._block_at("server")


class BlockingBackend(Backend):
    """A test double of a backend of another author, whose engines block."""

    name = "blocking"

    def __init__(self, end: threading.Event) -> None:
        self.end = end
        self.began = threading.Event()

    async def probe(self, python: str | None = None) -> Probe:
        return Probe(usable=True)

    async def models(self, folders: Sequence[str]) -> list[ModelInfo]:
        return []

    async def open(self, request: OpenRequest, on_progress: OnProgress) -> OpenEngine:
        self.began.set()
        for step in range(10_000):
            on_progress(LoadProgress(fraction=step / 10_000))
        if request.model == "open":
            self.end.wait()
        self.engine = Blocking(request.model, self.end)
        return self.engine
