"""Lanes with backends that break the contract, and in programs that do not close them."""

import asyncio
import contextlib
import threading
from collections.abc import AsyncGenerator, Sequence

import pytest
from tests.workbench.lane_helpers import ask

from paragone import (
    Backend,
    Event,
    Finish,
    LoadedModel,
    LoadProgress,
    OpenEngine,
    OpenRequest,
    Probe,
    RunRequest,
    Token,
)
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.runs.scheduler import EnginePool


class FaultyBackend(Backend):
    """A test double of a backend that breaks the contract; the model's name selects how. It has no process."""

    name = "faulty"

    def __init__(self) -> None:
        self.began = threading.Event()

    async def probe(self, python: str | None = None) -> Probe:
        raise NotImplementedError

    async def models(self, folders: Sequence[str]):
        raise NotImplementedError

    async def open(self, request: OpenRequest, on_progress) -> OpenEngine:
        self.began.set()
        if request.model == "open":
            raise KeyError("config.json")
        if request.model == "stubborn":
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.sleep(60)
            on_progress(LoadProgress(fraction=1.0))
        if request.model == "sulky":
            try:
                await asyncio.sleep(60)
            finally:
                raise ValueError("not now")
        return FaultyEngine(request.model)


class FaultyEngine(OpenEngine):
    closed = 0

    def __init__(self, model: str) -> None:
        self.loaded = LoadedModel(name=model)
        self.model = model

    async def run(self, request: RunRequest) -> AsyncGenerator[Event, None]:
        yield Token(text="word0 ", time=0.0)
        if self.model == "run":
            raise KeyError("choices")
        if self.model in ("stop", "hanging"):
            await asyncio.sleep(60)
        if self.model != "endless":
            return
        yield Finish(reason="stop", time=0.0)

    async def stop(self) -> None:
        if self.model == "stop":
            raise OSError("nobody there")

    async def close(self) -> None:
        FaultyEngine.closed += 1
        if self.model == "close":
            raise OSError("nobody there")


@pytest.fixture
async def faulty(check_nothing_left):
    def make(model: str) -> Lane:
        registry = Registry()
        registry._found["faulty"] = FaultyBackend()
        return Lane(EngineDefinition(name="it", backend="faulty", model=model), EnginePool(registry))

    FaultyEngine.closed = 0
    return make


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("open", "The backend faulty raised an unexpected error (KeyError: 'config.json')."),
        ("run", "The backend faulty raised an unexpected error (KeyError: 'choices')."),
        ("silent", "The engine ended its answer without a finish reason."),
    ],
)
async def test_a_failing_backend_fails_its_lane(faulty, model, message):
    lane = faulty(model)
    lane.open()
    run = ask(lane)
    await lane.answered()
    assert (run.state, run.error.message, lane.state) == ("failed", message, "failed")
    await lane.close()


@pytest.mark.parametrize("model", ["stubborn", "sulky"])
async def test_a_backend_that_ignores_cancellation_can_be_closed(faulty, record_events, model):
    lane = faulty(model)
    events = record_events(lane)
    lane.open()
    while not lane.engine.backend.began.is_set():
        await asyncio.sleep(0.001)
    await lane.close()
    assert (lane.state, lane.engine.is_open, lane.error) == ("empty", False, None)
    assert events.states == ["loading", "empty"]
    assert events.others == []
    assert FaultyEngine.closed == (model == "stubborn"), "the engine that it opened is closed"


async def test_an_error_while_stopping_cancels_the_run(faulty, until, check_nothing_left):
    lane = faulty("stop")
    lane.open()
    run = ask(lane)
    await until(lambda: run.text)
    await lane.stop()
    await lane.answered()
    assert (run.state, run.text) == ("stopped", "word0 ")
    assert [context["message"] for context in check_nothing_left] == ["A backend failed to stop a run."]
    check_nothing_left.clear()
    await lane.close()


async def test_a_backend_that_ignores_a_stop_can_be_closed(faulty, until, monkeypatch):
    monkeypatch.setattr("paragone_workbench.engines.engine.STOP_S", 0.1)
    lane = faulty("hanging")
    lane.open()
    run = ask(lane)
    await until(lambda: run.text)
    await lane.close()
    assert (run.state, run.text, lane.state) == ("stopped", "word0 ", "empty")


async def test_an_error_while_closing_is_ignored(faulty, check_nothing_left):
    lane = faulty("close")
    lane.open()
    await lane.engine.opened()
    await lane.close()
    assert lane.state == "empty"
    assert [context["message"] for context in check_nothing_left] == ["A backend failed to close an engine."]
    check_nothing_left.clear()


# ── A program that ends without closing ────────────────────────────────────────────────────────


def test_a_program_that_ends_without_closing_kills_its_engines():
    async def main():
        registry = Registry()
        registry._found["faulty"] = FaultyBackend()
        lane = Lane(EngineDefinition(name="it", backend="faulty", model="hanging"), EnginePool(registry))
        lane.open()
        run = ask(lane)
        while not run.text:
            await asyncio.sleep(0)
        return run

    run = asyncio.run(main())
    assert (run.state, run.text) == ("interrupted", "word0 ")
