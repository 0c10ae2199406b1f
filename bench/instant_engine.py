"""A backend whose engine answers at once, in the application's process: what remains is the cost of the program."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from paragone import (
    Backend,
    Event,
    Finish,
    LoadedModel,
    ModelInfo,
    OnProgress,
    OpenEngine,
    OpenRequest,
    Options,
    Probe,
    RunRequest,
    RunSettings,
    Token,
    Usage,
)
from paragone.chat.sampling import SamplingOptions
from paragone_workbench.engines.registry import Registry

__all__ = ["InstantRegistry"]

WORDS = ("An ", "answer ", "that ", "needs ", "no ", "time.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Load(Options):
    pass


class _InstantEngine(OpenEngine):
    loaded = LoadedModel(name="instant", context=4096)

    async def run(self, request: RunRequest) -> AsyncGenerator[Event, None]:
        yield RunSettings(seed=1, sampling=request.sampling)
        for word in WORDS:
            yield Token(text=word, time=time.monotonic())
        usage = Usage(prompt_tokens=10, cached_tokens=0, completion_tokens=len(WORDS))
        yield Finish(reason="stop", usage=usage, time=time.monotonic())

    async def stop(self) -> None:
        pass

    async def close(self) -> None:
        pass


class _InstantBackend(Backend):
    name = "instant"
    title = "Instant"
    load_options = _Load
    sampling = SamplingOptions

    async def probe(self, python: str | None = None) -> Probe:
        return Probe(usable=True)

    async def models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        return ()

    async def open(self, request: OpenRequest, on_progress: OnProgress) -> OpenEngine:
        return _InstantEngine()


class InstantRegistry(Registry):
    """A registry with this backend only."""

    def find(self, name: str) -> Backend | None:
        return _InstantBackend() if name == "instant" else None

    def get(self, name: str) -> Backend:
        return _InstantBackend()
