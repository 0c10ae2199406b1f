"""A test double: a backend whose engine answers immediately, in the application's process, to measure the program alone."""

import time
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Sequence
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
from paragone.shared_options import SamplingOptions
from paragone_workbench.engines.registry import Registry

__all__ = ["InstantRegistry"]

Answer = Callable[[RunRequest], Iterable[Event]]
"""Returns the events that an engine sends in a run."""
WORDS = ("An ", "answer ", "that ", "needs ", "no ", "time.")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Load(Options):
    pass


def six_words(request: RunRequest) -> Iterator[Event]:
    """Yield the events of a short answer."""
    yield RunSettings(seed=1, sampling=request.sampling)
    for word in WORDS:
        yield Token(text=word, time=time.monotonic())
    usage = Usage(prompt_tokens=10, cached_tokens=0, completion_tokens=len(WORDS))
    yield Finish(reason="stop", usage=usage, time=time.monotonic())


class _InstantEngine(OpenEngine):
    loaded = LoadedModel(name="instant", context=4096)

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def run(self, request: RunRequest) -> AsyncGenerator[Event, None]:
        for event in self._answer(request):
            yield event

    async def stop(self) -> None:
        pass

    async def close(self) -> None:
        pass


class _InstantBackend(Backend):
    name = "instant"
    title = "Instant"
    load_options = _Load
    sampling = SamplingOptions

    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def probe(self, python: str | None = None) -> Probe:
        return Probe(usable=True)

    async def models(self, folders: Sequence[str]) -> Sequence[ModelInfo]:
        return ()

    async def open(self, request: OpenRequest, on_progress: OnProgress) -> OpenEngine:
        return _InstantEngine(self._answer)


class InstantRegistry(Registry):
    """A registry of the instant backend only, whose engines send the events of `answer` as fast as the program reads them."""

    def __init__(self, answer: Answer = six_words) -> None:
        super().__init__()
        self._backend = _InstantBackend(answer)

    def find(self, name: str) -> Backend | None:
        return self._backend if name == "instant" else None

    def get(self, name: str) -> Backend:
        return self._backend
