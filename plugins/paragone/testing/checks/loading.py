"""Checks of servers that load models on demand."""

from __future__ import annotations

import pytest

from paragone.backend import Backend, OpenEngine
from paragone.testing.checks.opening import ignore
from paragone.testing.fixtures import ConformanceFixtures, Opened
from paragone.testing.runs import within
from paragone.values.messages import OpenRequest


class LoadingChecks(ConformanceFixtures):
    """The capability `loads`. No other program may use the model during these tests."""

    async def test_the_server_tells_that_the_model_is_loaded(
        self, backend: Backend, opening: OpenRequest, engine: OpenEngine
    ) -> None:
        """While an engine is open, a server that loads models describes the model as loaded."""
        if (engine.loaded.capabilities or backend.capabilities).loads:
            assert await self._is_loaded(backend, opening), "the server does not say that the model is loaded"

    async def test_the_last_engine_to_be_closed_unloads_the_model(
        self, backend: Backend, opening: OpenRequest, opened: Opened, engine: OpenEngine
    ) -> None:
        """Closing one of two engines keeps the model loaded; closing the other engine unloads the model."""
        loads = (engine.loaded.capabilities or backend.capabilities).loads
        other = await within(self.patience, "opening", backend.open(opening, ignore))
        left = await within(self.patience, "closing", other.close())
        assert left is None, f"closing one of two engines reports {left}"
        if loads:
            assert await self._is_loaded(backend, opening), "an engine is open, but its model was unloaded"
        opened.engine = None  # the next test opens a new engine
        left = await within(self.patience, "closing", engine.close())
        assert left is None, f"closing the engine that loaded the model reports {left}"
        if loads:
            assert not await self._is_loaded(backend, opening), "no engine is open, but the model is loaded"

    async def _is_loaded(self, backend: Backend, opening: OpenRequest) -> bool:
        report = await within(self.patience, "describing the server", backend.endpoint(opening.options))
        assert report is not None, "a backend that loads models must describe its server"
        for info in report.models:
            if opening.model in (info.model, *info.aliases):
                assert info.is_loaded is not None, "the server does not tell whether the model is loaded"
                return info.is_loaded
        pytest.fail(f"the server does not list the model {opening.model!r}")
