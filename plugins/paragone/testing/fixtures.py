"""The fixtures of the checks: fixtures to override, and the engine that the tests of a class share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import ClassVar

import pytest
import pytest_asyncio

from paragone.backend import Backend, OpenEngine
from paragone.testing.runs import Sampling, within
from paragone.testing.subject import Subject, has_option
from paragone.values.events import LoadProgress
from paragone.values.messages import OpenRequest


class Opened:
    """The engine that the tests of a class share.

    The first test opens the engine, and so does the next test after a failed test.
    """

    def __init__(self) -> None:
        self.engine: OpenEngine | None = None
        self.progress: list[LoadProgress] = []
        """The progress reports while the engine was opened."""

    async def get(self, backend: Backend, opening: OpenRequest, patience: float) -> OpenEngine:
        """Return the engine. Open the engine if it is not open."""
        if self.engine is None:
            self.progress.clear()
            self.engine = await within(patience, "opening", backend.open(opening, self.progress.append))
        return self.engine

    async def drop(self, patience: float) -> None:
        """Close the engine, so that the next test opens a new one."""
        engine, self.engine = self.engine, None
        if engine is not None:
            await within(patience, "closing", engine.close())


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
    def opening(self) -> OpenRequest:
        """Return the request to open: a model, and options that suit a test. Override this fixture."""
        raise NotImplementedError("override the fixture `opening`: return an OpenRequest for a small model")

    @pytest.fixture
    def sampling(self, backend: Backend) -> Sampling:
        """Return sampling options for short answers."""
        return {"max_tokens": 24} if has_option(backend, "max_tokens") else {}

    @pytest.fixture
    def long_sampling(self, backend: Backend, engine: OpenEngine) -> Sampling:
        """Return sampling options for answers that are long enough to be stopped halfway."""
        if not has_option(backend, "max_tokens"):
            return {}
        return {"max_tokens": min(1000, (engine.loaded.context or 3000) // 3)}

    @pytest.fixture
    def subject(self, backend: Backend, engine: OpenEngine, sampling: Sampling) -> Subject:
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
        self, backend: Backend, opening: OpenRequest, opened: Opened, request: pytest.FixtureRequest
    ) -> AsyncIterator[OpenEngine]:
        """Yield an open engine, and close the engine after a failed test."""
        failed_before = request.session.testsfailed
        yield await opened.get(backend, opening, self.patience)
        if request.session.testsfailed > failed_before:
            await opened.drop(self.patience)
