"""What the checks are run on: fixtures to override, and the engine that the tests of a class share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import ClassVar

import pytest
import pytest_asyncio

from paragone.backend import Backend, OpenEngine
from paragone.events import LoadProgress
from paragone.messages import OpenRequest
from paragone.models import Capabilities
from paragone.options import describe
from paragone.testing.asking import within
from paragone.wire import Json

__all__ = ["Opened", "Setting"]


class Opened:
    """The engine that the tests of a class share: opened when first wanted, and anew after a failure."""

    def __init__(self) -> None:
        self.engine: OpenEngine | None = None
        self.progress: list[LoadProgress] = []
        """What was told while it was opened."""

    async def get(self, backend: Backend, opening: OpenRequest, patience: float) -> OpenEngine:
        """Return the engine, opening it where none is open."""
        if self.engine is None:
            self.progress.clear()
            self.engine = await within(patience, "opening", backend.open(opening, self.progress.append))
        return self.engine

    async def drop(self, patience: float) -> None:
        """Close the engine, so that the next test opens another."""
        engine, self.engine = self.engine, None
        if engine is not None:
            await within(patience, "closing", engine.close())


class Setting:
    """The fixtures and limits that a backend's author sets."""

    patience: ClassVar[float] = 60.0
    """Seconds that opening and answering may take, each."""
    grace: ClassVar[float] = 5.0
    """Seconds that stopping may take."""

    @pytest.fixture
    def backend(self) -> Backend:
        """Return the backend to test. Override it."""
        raise NotImplementedError("override the fixture `backend`: return the backend to test")

    @pytest.fixture
    def opening(self) -> OpenRequest:
        """Return what to open: a model, and options that suit a test. Override it."""
        raise NotImplementedError("override the fixture `opening`: return an OpenRequest for a small model")

    @pytest.fixture
    def sampling(self, backend: Backend) -> Mapping[str, Json]:
        """Return sampling options that make short answers."""
        return {"max_tokens": 24} if has_option(backend, "max_tokens") else {}

    @pytest.fixture
    def long_sampling(self, backend: Backend, engine: OpenEngine) -> Mapping[str, Json]:
        """Return sampling options that let an answer go on long enough to be stopped in the middle."""
        if not has_option(backend, "max_tokens"):
            return {}
        return {"max_tokens": min(1000, (engine.loaded.context or 3000) // 3)}

    @pytest.fixture
    def able(self, backend: Backend, engine: OpenEngine) -> Capabilities:
        """Return what the open engine can do."""
        return engine.loaded.capabilities or backend.capabilities

    @pytest_asyncio.fixture(loop_scope="class", scope="class")
    async def opened(self) -> AsyncIterator[Opened]:
        """Hold the engine that the tests share, and close it after the last of them."""
        opened = Opened()
        yield opened
        await opened.drop(self.patience)

    @pytest_asyncio.fixture(loop_scope="class")
    async def engine(
        self, backend: Backend, opening: OpenRequest, opened: Opened, request: pytest.FixtureRequest
    ) -> AsyncIterator[OpenEngine]:
        """Return an open engine; after a test that failed, it is not used again."""
        failed_before = request.session.testsfailed
        yield await opened.get(backend, opening, self.patience)
        if request.session.testsfailed > failed_before:
            await opened.drop(self.patience)


def has_option(backend: Backend, name: str) -> bool:
    """Whether each run may set this option."""
    return any(info.name == name for info in describe(backend.sampling))
