"""A backend that has options and no engine, and sessions whose lanes run real workers."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import Literal

import psutil
import pytest

from paragone import Backend, Json, Options, option
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.observer import LaneObserver
from paragone_workbench.lanes.session import Session
from paragone_workbench.store import History, StoreError


@dataclass(frozen=True, slots=True, kw_only=True)
class Load(Options):
    n_ctx: int = option(0, "Context window.", minimum=0)
    cache: Literal["f16", "q8_0"] = option("f16", "Kind of KV cache.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling(Options):
    temperature: float = option(0.8, "Temperature.", minimum=0)
    stop: tuple[str, ...] = option((), "Stop strings.")


class Paper(Backend):
    """Stands in for a backend whose options are all that is asked of it."""

    name = "paper"
    load_options = Load
    sampling = Sampling

    async def probe(self, python=None):
        raise NotImplementedError

    async def models(self, folders):
        raise NotImplementedError

    async def open(self, request, on_progress):
        raise NotImplementedError


@pytest.fixture
def paper() -> Paper:
    return Paper()


# ── Histories ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def problems() -> list[StoreError]:
    return []


@pytest.fixture
async def history(tidy):
    history = await History.open()
    yield history
    await history.close()


# ── Lanes and sessions over real workers ───────────────────────────────────────────────────────


class Told(LaneObserver):
    """Keeps what a lane tells, in order."""

    def __init__(self) -> None:
        self.states: list[str] = []
        """The states, each once until the next."""
        self.said: list[str] = []
        """Everything else."""
        self.texts: list[str] = []
        self.fractions: list[float | None] = []

    def state_changed(self, lane):
        if not self.states or self.states[-1] != lane.state:
            self.states.append(lane.state)
        if lane.state == "loading":
            self.fractions.append(lane.engine.load_fraction)

    def prompted(self, lane, run):
        self.said.append(f"prompted {run.prompt.text}")

    def run_started(self, lane, run):
        self.said.append(f"started {run.prompt.text}")

    def text_came(self, lane, run, channel, text):
        self.texts.append(text)

    def cautioned(self, lane, caution):
        self.said.append(f"cautioned {caution.code}")

    def run_ended(self, lane, run):
        assert run.state != "running"
        assert lane.present is None
        self.said.append(f"ended {run.state}")

    def engine_failed(self, lane, error):
        self.said.append(f"failed {error.sentence}")


@pytest.fixture
def told():
    """Return a function that begins to listen to a lane."""

    def listen(lane: Lane) -> Told:
        listener = Told()
        lane.observers.append(listener)
        return listener

    return listen


@pytest.fixture
def rogue():
    """Return a function that defines an engine of the rogue backend, whose model says how it fails."""

    def define(model: str = "steady", name: str | None = None, **options: Json) -> EngineDefinition:
        return EngineDefinition(name=name or model, backend="rogue", model=model, options=options)

    return define


@pytest.fixture
def until():
    """Return a function that waits for a condition."""

    async def wait(condition, seconds: float = 20.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "never came about"
            await asyncio.sleep(0.005)

    return wait


@pytest.fixture
async def tidy(workers):
    """Check that nothing is left: no worker, no task, and no error that the event loop was told of."""
    errors: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    tasks = asyncio.all_tasks()
    yield errors
    left = asyncio.all_tasks() - tasks - {asyncio.current_task()}
    assert not left, left
    assert workers() == []
    assert errors == []


@pytest.fixture
async def make(tidy, rogue):
    """Return a function that makes a lane; they are closed at the end of the test."""
    lanes: list[Lane] = []

    def make(model: str = "steady", **options) -> Lane:
        lanes.append(Lane(rogue(model, **options), Registry()))
        return lanes[-1]

    yield make
    await asyncio.gather(*(lane.close() for lane in lanes))
    assert [lane.state for lane in lanes] == ["empty"] * len(lanes)
    assert not any(lane.is_busy or lane.engine.is_open or lane.engine.is_opening for lane in lanes)


@pytest.fixture
async def session(tidy):
    """An empty session, closed at the end of the test."""
    made = Session(Registry())
    yield made
    await made.close()


@pytest.fixture
def workers():
    """Return a function that lists the workers that this test started and that run, and what they started."""
    before = psutil.Process().children(recursive=True)  # servers that other tests share

    def workers() -> list[psutil.Process]:
        children = psutil.Process().children(recursive=True)
        return [
            child
            for child in children
            if child not in before and child.is_running() and child.status() != psutil.STATUS_ZOMBIE
        ]

    return workers
