"""The open engine that a test checks, and the fixtures that the author of a backend overrides."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar, TypeVar

import pytest
import pytest_asyncio

from paragone import models, options, requests
from paragone.backend import Backend, OpenEngine
from paragone.events import Event, LoadProgress
from paragone.testing import runs

T = TypeVar("T")

ATTEMPTS = 3
"""Number of attempts with a model that ends its answers too early."""


@dataclass(frozen=True, slots=True)
class Subject:
    """An open engine, its capabilities, and the limits of its tests.

    Attributes:
        sampling: Options for short answers.
        patience: Largest number of seconds for one step, such as an answer.
        grace: Largest number of seconds for stopping.
    """

    backend: Backend
    engine: OpenEngine
    sampling: runs.Sampling
    patience: float
    grace: float

    @property
    def able(self) -> models.Capabilities:
        """The capabilities of the engine."""
        return self.engine.loaded.capabilities or self.backend.capabilities

    def has_option(self, name: str) -> bool:
        """Whether the backend has this sampling option."""
        return has_option(self.backend, name)

    def asked(
        self,
        text: str = "Say hello.",
        also: runs.Sampling | None = None,
        *,
        cold: bool = False,
        logprobs: int | None = None,
    ) -> requests.RunRequest:
        """Return the request for a short answer to one user message. `also` has additional sampling options."""
        return runs.asked(text, {**self.sampling, **(also or {})}, cold=cold, logprobs=logprobs)

    def long_text(self, tokens: int) -> str:
        """Return a text of `tokens` words, but of at most a third as many words as the context has tokens."""
        return runs.words(min(tokens, (self.engine.loaded.context or 3000) // 3))

    async def within(self, what: str, work: Awaitable[T]) -> T:
        """Return the result of a step; fail the test if the step takes too long."""
        return await runs.within(self.patience, what, work)

    async def run(self, request: requests.RunRequest, what: str = "an answer") -> list[Event]:
        """Return the events of a run."""
        return await self.within(what, runs.events_of(self.engine.run(request)))

    async def complete(self, request: requests.RunRequest, what: str = "an answer") -> list[Event]:
        """Return the events of a run, which must be valid."""
        events = await self.run(request, what)
        runs.check_events(events)
        return events

    async def answer(self, request: requests.RunRequest) -> list[Event]:
        """Return the events of a run, which must be valid and have a text."""
        events = await self.complete(request)
        assert runs.text_of(events), "the answer is empty"
        return events

    async def still_answers(self) -> None:
        """Check that the engine is free and answers another prompt completely."""
        await self.complete(self.asked(), "the next answer")

    async def score(self, request: requests.ScoreRequest) -> list[Event]:
        """Return the events of a score."""
        return await self.within("scoring", runs.events_of(self.engine.score(request)))

    async def tokenize(self, request: requests.TokenizeRequest) -> requests.TokenizedText:
        """Return the tokens of a conversation or a text."""
        return await self.within("tokenizing", self.engine.tokenize(request))

    async def prompt_of(self, request: requests.RunRequest) -> requests.TokenizedText:
        """Return the tokens of a run's prompt."""
        return await self.tokenize(
            requests.TokenizeRequest(messages=request.messages, sampling=request.sampling)
        )

    async def ids_of(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a text."""
        assert self.able.tokenize, "a backend with distributions or top tokens must be able to tokenize"
        return (await self.tokenize(requests.TokenizeRequest(text=text))).ids

    async def vocabulary_size(self) -> int:
        """Return the number of tokens in the vocabulary."""
        return (await self.within("the vocabulary", self.engine.vocabulary())).size

    async def ended(
        self, stream: AsyncGenerator[T, None], *, stop: bool, size: Callable[[T], int] = lambda item: 1
    ) -> int:
        """End a stream after its first item, by `stop` or by closing the stream. Return the total size of the items."""
        total = 0
        async with contextlib.aclosing(stream):
            async for item in stream:
                first, total = not total, total + size(item)
                if not stop:
                    break
                if first:
                    await self.engine.stop()
        return total

    async def stops(self, start: Callable[[], AsyncGenerator[Event, None]], tokens: int) -> None:
        """Check that a run or a score can be stopped after this many tokens, and that the engine is then free."""

        async def stop(run: CheckedRun) -> bool:
            await runs.within(self.grace, "`stop`", self.engine.stop())
            await runs.within(self.grace, "ending a run that was stopped", run.task)
            reason = runs.finish_of(run.events).reason
            assert reason in ("cancelled", "stop", "length"), f"a run ends with {reason!r}"
            return reason == "cancelled"

        await self.interrupted(start, tokens, stop)

    async def interrupted(
        self,
        start: Callable[[], AsyncGenerator[Event, None]],
        tokens: int,
        interrupt: Callable[[CheckedRun], Awaitable[bool]],
    ) -> None:
        """Interrupt a run after this many tokens, and check that the engine is then free.

        `interrupt` returns whether it has interrupted the run. If the model ends its answer too early, the run is repeated.
        """
        for _ in range(ATTEMPTS):
            async with contextlib.aclosing(CheckedRun(start(), tokens=tokens)) as run:
                if await run.begin(self.patience) and await interrupt(run):
                    break
        else:
            pytest.fail(
                "every answer ended before it could be stopped: set `long_sampling` for longer answers"
            )
        await self.still_answers()


def has_option(backend: Backend, name: str) -> bool:
    """Whether the backend has this sampling option."""
    return any(info.name == name for info in options.describe(backend.sampling))


class CheckedRun:
    """A run or a score that a separate task consumes, so that a test can stop it halfway."""

    def __init__(self, stream: AsyncGenerator[Event, None], *, tokens: int) -> None:
        """Start the run. `begin` waits for `tokens` tokens, or, if `tokens` is 0, for the first event."""
        self.events: list[Event] = []
        self._tokens = tokens
        self._begun = asyncio.Event()
        self.task = asyncio.create_task(self._consume(stream))

    async def aclose(self) -> None:
        """End the task."""
        self.task.cancel()
        await asyncio.wait({self.task}, timeout=1)

    async def begin(self, seconds: float) -> bool:
        """Wait for the first tokens, and return whether the run is still in progress."""
        waiting = asyncio.create_task(self._begun.wait())
        await asyncio.wait({waiting, self.task}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self.task.done():
            self.task.result()
            return False
        assert self._begun.is_set(), f"no event within {seconds:g} seconds"
        return True

    async def _consume(self, stream: AsyncGenerator[Event, None]) -> None:
        async with contextlib.aclosing(stream) as events:
            async for event in events:
                self.events.append(event)
                if len(runs.tokens_of(self.events)) >= self._tokens:
                    self._begun.set()


class Opened:
    """The engine that the tests of a class share.

    The first test opens the engine, and so does the next test after a failed test.
    """

    def __init__(self) -> None:
        self.engine: OpenEngine | None = None
        self.progress: list[LoadProgress] = []
        """The progress reports while the engine was opened."""

    async def get(self, backend: Backend, opening: requests.OpenRequest, patience: float) -> OpenEngine:
        """Return the engine. Open the engine if it is not open."""
        if self.engine is None:
            self.progress.clear()
            self.engine = await runs.within(patience, "opening", backend.open(opening, self.progress.append))
        return self.engine

    async def drop(self, patience: float) -> None:
        """Close the engine, so that the next test opens a new one."""
        engine, self.engine = self.engine, None
        if engine is not None:
            await runs.within(patience, "closing", engine.close())


class ConformanceFixtures:
    """The fixtures and limits that a backend's author sets."""

    patience: ClassVar[float] = 60.0
    """Largest number of seconds for opening, and for an answer."""
    grace: ClassVar[float] = 5.0
    """Largest number of seconds for stopping."""

    @pytest.fixture
    def backend(self) -> Backend:
        """Return the backend to test. Override this fixture."""
        raise NotImplementedError("override the fixture `backend`: return the backend to test")

    @pytest.fixture
    def opening(self) -> requests.OpenRequest:
        """Return the request to open: a model, and options that suit a test. Override this fixture."""
        raise NotImplementedError("override the fixture `opening`: return an OpenRequest for a small model")

    @pytest.fixture
    def sampling(self, backend: Backend) -> runs.Sampling:
        """Return sampling options for short answers."""
        return {"max_tokens": 24} if has_option(backend, "max_tokens") else {}

    @pytest.fixture
    def long_sampling(self, backend: Backend, engine: OpenEngine) -> runs.Sampling:
        """Return sampling options for answers that are long enough to be stopped halfway."""
        if not has_option(backend, "max_tokens"):
            return {}
        return {"max_tokens": min(1000, (engine.loaded.context or 3000) // 3)}

    @pytest.fixture
    def subject(self, backend: Backend, engine: OpenEngine, sampling: runs.Sampling) -> Subject:
        """Return the open engine, with its backend and the limits for the tests."""
        return Subject(backend, engine, sampling, self.patience, self.grace)

    @pytest_asyncio.fixture(loop_scope="class", scope="class")
    @classmethod  # each test has its own instance, so pytest 10 refuses an instance method here
    async def opened(cls) -> AsyncIterator[Opened]:
        """Yield the shared engine, and close it after the last test."""
        opened = Opened()
        yield opened
        await opened.drop(cls.patience)

    @pytest_asyncio.fixture(loop_scope="class")
    async def engine(
        self, backend: Backend, opening: requests.OpenRequest, opened: Opened, request: pytest.FixtureRequest
    ) -> AsyncIterator[OpenEngine]:
        """Yield an open engine, and close the engine after a failed test."""
        failed_before = request.session.testsfailed
        yield await opened.get(backend, opening, self.patience)
        if request.session.testsfailed > failed_before:
            await opened.drop(self.patience)
