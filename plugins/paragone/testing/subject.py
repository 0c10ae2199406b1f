"""The open engine that a test checks, with a deadline for each step of the test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import pytest

from paragone.backend import Backend, OpenEngine
from paragone.options import describe
from paragone.testing.runs import (
    Sampling,
    asked,
    check_events,
    events_of,
    finish_of,
    text_of,
    tokens_of,
    within,
    words,
)
from paragone.values.events import Event
from paragone.values.messages import RunRequest, ScoreRequest, TokenizeRequest
from paragone.values.models import Capabilities
from paragone.values.tokens import TokenizedText

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
    sampling: Sampling
    patience: float
    grace: float

    @property
    def able(self) -> Capabilities:
        """The capabilities of the engine."""
        return self.engine.loaded.capabilities or self.backend.capabilities

    def has_option(self, name: str) -> bool:
        """Whether the backend has this sampling option."""
        return has_option(self.backend, name)

    def asked(
        self,
        text: str = "Say hello.",
        also: Sampling | None = None,
        *,
        cold: bool = False,
        logprobs: int | None = None,
    ) -> RunRequest:
        """Return the request for a short answer to one user message. `also` has additional sampling options."""
        return asked(text, {**self.sampling, **(also or {})}, cold=cold, logprobs=logprobs)

    def long_text(self, tokens: int) -> str:
        """Return a text of `tokens` words, but of at most a third as many words as the context has tokens."""
        return words(min(tokens, (self.engine.loaded.context or 3000) // 3))

    async def within(self, what: str, work: Awaitable[T]) -> T:
        """Return the result of a step; fail the test if the step takes too long."""
        return await within(self.patience, what, work)

    async def run(self, request: RunRequest, what: str = "an answer") -> list[Event]:
        """Return the events of a run."""
        return await self.within(what, events_of(self.engine.run(request)))

    async def complete(self, request: RunRequest, what: str = "an answer") -> list[Event]:
        """Return the events of a run, which must be valid."""
        events = await self.run(request, what)
        check_events(events)
        return events

    async def answer(self, request: RunRequest) -> list[Event]:
        """Return the events of a run, which must be valid and have a text."""
        events = await self.complete(request)
        assert text_of(events), "the answer is empty"
        return events

    async def still_answers(self) -> None:
        """Check that the engine is free and answers another prompt completely."""
        await self.complete(self.asked(), "the next answer")

    async def score(self, request: ScoreRequest) -> list[Event]:
        """Return the events of a score."""
        return await self.within("scoring", events_of(self.engine.score(request)))

    async def tokenize(self, request: TokenizeRequest) -> TokenizedText:
        """Return the tokens of a conversation or a text."""
        return await self.within("tokenizing", self.engine.tokenize(request))

    async def prompt_of(self, request: RunRequest) -> TokenizedText:
        """Return the tokens of a run's prompt."""
        return await self.tokenize(TokenizeRequest(messages=request.messages, sampling=request.sampling))

    async def ids_of(self, text: str) -> tuple[int, ...]:
        """Return the tokens of a text."""
        assert self.able.tokenize, "a backend with distributions or top tokens must be able to tokenize"
        return (await self.tokenize(TokenizeRequest(text=text))).ids

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
            await within(self.grace, "`stop`", self.engine.stop())
            await within(self.grace, "ending a run that was stopped", run.task)
            reason = finish_of(run.events).reason
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
    return any(info.name == name for info in describe(backend.sampling))


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
                if len(tokens_of(self.events)) >= self._tokens:
                    self._begun.set()
