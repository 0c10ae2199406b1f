"""Checks of servers that load models on demand."""

from __future__ import annotations

import pytest

from paragone.testing.checks.opening import ignore
from paragone.testing.fixtures import ConformanceFixtures, Opened
from paragone.testing.subject import Subject
from paragone.values.messages import OpenRequest


class LoadingChecks(ConformanceFixtures):
    """The capability `loads`. No other program may use the model during these tests."""

    async def test_the_server_tells_that_the_model_is_loaded(
        self, opening: OpenRequest, subject: Subject
    ) -> None:
        """While an engine is open, a server that loads models describes the model as loaded."""
        if subject.able.loads:
            assert await is_loaded(subject, opening), "the server does not say that the model is loaded"

    async def test_the_last_engine_to_be_closed_unloads_the_model(
        self, opening: OpenRequest, opened: Opened, subject: Subject
    ) -> None:
        """Closing one of two engines keeps the model loaded; closing the other engine unloads the model."""
        loads = subject.able.loads
        other = await subject.within("opening", subject.backend.open(opening, ignore))
        left = await subject.within("closing", other.close())
        assert left is None, f"closing one of two engines reports {left}"
        if loads:
            assert await is_loaded(subject, opening), "an engine is open, but its model was unloaded"
        opened.engine = None  # the next test opens a new engine
        left = await subject.within("closing", subject.engine.close())
        assert left is None, f"closing the engine that loaded the model reports {left}"
        if loads:
            assert not await is_loaded(subject, opening), "no engine is open, but the model is loaded"


async def is_loaded(subject: Subject, opening: OpenRequest) -> bool:
    """Return whether the server describes the model as loaded."""
    report = await subject.within("describing the server", subject.backend.endpoint(opening.options))
    assert report is not None, "a backend that loads models must describe its server"
    for info in report.models:
        if opening.model in (info.model, *info.aliases):
            assert info.is_loaded is not None, "the server does not tell whether the model is loaded"
            return info.is_loaded
    pytest.fail(f"the server does not list the model {opening.model!r}")
