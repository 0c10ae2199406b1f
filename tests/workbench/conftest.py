"""Fixtures: a backend without engines, the history, and lanes and sessions with real workers."""

import asyncio
import contextlib
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import psutil
import pytest
from tests.workbench.history_file import open_history, open_store
from tests.workbench.suites import Suites

from paragone import Backend, Json, Options, ParagoneError, option
from paragone.worker import client, process
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.lanes.session import Session
from paragone_workbench.runs.run import Run
from paragone_workbench.runs.scheduler import EnginePool
from paragone_workbench.store import StoreError, database, saving


@dataclass(frozen=True, slots=True, kw_only=True)
class Load(Options):
    n_ctx: int = option(0, "Context window.", minimum=0)
    cache: Literal["f16", "q8_0"] = option("f16", "Kind of KV cache.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling(Options):
    temperature: float = option(0.8, "Temperature.", minimum=0)
    stop: tuple[str, ...] = option((), "Stop strings.")


class Paper(Backend):
    """A test double of a backend of which only the options are used."""

    name = "paper"
    load_options: type[Options] = Load
    sampling: type[Options] = Sampling

    async def probe(self, python=None):
        raise NotImplementedError

    async def models(self, folders):
        raise NotImplementedError

    async def open(self, request, on_progress):
        raise NotImplementedError


@pytest.fixture
def paper() -> Paper:
    return Paper()


class Backends(Registry):
    """Stands in for the registry: it has only these backends."""

    def __init__(self, *backends: Backend) -> None:
        super().__init__()
        self._found = {backend.name: backend for backend in backends}
        self._complete = True


def wrong(value: object) -> Any:
    """Return a value where its type is not allowed."""
    return value


# ── Histories ────────────────────────────────────────────────────────────────────────────────


@pytest.fixture
def problems() -> list[StoreError]:
    return []


@pytest.fixture
def short_waits(monkeypatch):
    """SQLite waits briefly for a lock, and a save that failed is soon tried again."""
    monkeypatch.setattr(database, "BUSY_S", 0.05)
    monkeypatch.setattr(saving, "BUSY_S", 0.05)
    monkeypatch.setattr(saving, "RETRY_S", 0.05)


@pytest.fixture
async def history(check_nothing_left, short_waits):
    history = await open_history()
    yield history
    await history.close()


@pytest.fixture
def store(home):
    with contextlib.closing(open_store()) as store:
        yield store


@pytest.fixture
async def suites(home):
    history = await open_history()
    yield Suites(history)
    await history.close()


# ── Lanes and sessions with real workers ───────────────────────────────────────────────────────


class LaneEvents:
    """Records how the state of a lane changes, in order."""

    def __init__(self, lane: Lane) -> None:
        self.states: list[str] = []
        """The states, without repetitions."""
        self.others: list[str] = []
        """All other changes, with their most important value."""
        self.text = ""
        """The text of the current run."""
        self.fractions: list[float | None] = []
        self._run: Run | None = None
        self._started = False
        self._cautions = len(lane.cautions)
        self._error: ParagoneError | None = None
        lane.on_change = self.look

    def look(self, lane: Lane) -> None:
        if not self.states or self.states[-1] != lane.state:
            self.states.append(lane.state)
        if lane.state == "loading":
            self.fractions.append(lane.engine.load_fraction)
        self.others += [f"cautioned {caution.code}" for _, caution in lane.cautions[self._cautions :]]
        self._cautions = len(lane.cautions)
        if lane.engine.error not in (None, self._error):
            self.others.append(f"failed {lane.engine.error.message}")
        self._error = lane.engine.error
        if self._run is None and lane.present is not None:
            self._run, self._started = lane.present, False
            self.others.append(f"prompted {self._run.prompt.text}")
        if self._run is not None:
            if self._run.meter is not None and not self._started:
                self._started = True
                self.others.append(f"started {self._run.prompt.text}")
            self.text = self._run.text
            if lane.present is None:
                assert self._run.state != "running"
                self.others.append(f"ended {self._run.state}")
                self._run = None


@pytest.fixture
def record_events():
    """A function that begins to record the changes of a lane."""
    return LaneEvents


@pytest.fixture
def rogue():
    """A function that defines an engine of the rogue backend; the model's name selects its behaviour."""

    def define(model: str = "steady", name: str | None = None, **options: Json) -> EngineDefinition:
        return EngineDefinition(name=name or model, backend="rogue", model=model, options=options)

    return define


@pytest.fixture
def until():
    """A function that waits for a condition."""

    async def wait(condition, seconds: float = 120.0) -> None:
        end = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < end, "the condition never became true"
            await asyncio.sleep(0.005)

    return wait


@pytest.fixture
async def check_nothing_left(workers):
    """Check at the end of the test that no worker and no task is left.

    The value is the list of errors passed to the event loop's exception handler, which must be empty at the end.
    """
    errors: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    tasks = asyncio.all_tasks()
    yield errors
    left = asyncio.all_tasks() - tasks - {asyncio.current_task()}
    assert not left, left
    assert workers() == []
    assert errors == []


@pytest.fixture
def be_impatient(monkeypatch):
    """A function after whose call engines that ignore a stop, or that are being opened, are killed soon."""

    def be_impatient() -> None:
        for module in (client, process):
            monkeypatch.setattr(module, "GRACE", 0.1)

    return be_impatient


@pytest.fixture
def end():
    """An event that blocks a plugin, until the test is over."""
    end = threading.Event()
    yield end
    end.set()


@pytest.fixture
async def make_lane(check_nothing_left, rogue):
    """A function that makes a lane; all lanes are closed at the end of the test."""
    lanes: list[Lane] = []

    def make(model: str = "steady", **options) -> Lane:
        lanes.append(Lane(rogue(model, **options), EnginePool(Registry())))
        return lanes[-1]

    yield make
    await asyncio.gather(*(lane.close() for lane in lanes))
    assert [lane.state for lane in lanes] == ["empty"] * len(lanes)
    assert not any(lane.is_busy or lane.engine.is_open or lane.engine.is_opening for lane in lanes)


@pytest.fixture
async def session(check_nothing_left):
    """An empty session, closed at the end of the test."""
    made = Session(Registry())
    yield made
    await made.close()


@pytest.fixture
def workers():
    """A function that lists the running processes that this test started: workers and their child processes."""
    before = descendants()  # servers that several tests share

    def workers() -> list[psutil.Process]:
        if not descendants() - before:
            return []
        return [
            child
            for child in psutil.Process().children(recursive=True)
            if child.pid not in before and child.is_running() and child.status() != psutil.STATUS_ZOMBIE
        ]

    return workers


def descendants() -> set[int]:
    """Return the ids of the processes that this one started, that those started, and so on.

    Linux lists them for each thread. psutil reads the parents of all processes, which takes twenty times as long.
    """
    own = os.getpid()
    if not os.path.exists(f"/proc/{own}/task/{own}/children"):
        return {child.pid for child in psutil.Process().children(recursive=True)}
    found: set[int] = set()
    left = [own]
    while left:
        for thread in Path(f"/proc/{left.pop()}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # the thread has ended
                children = {int(pid) for pid in thread.read_text().split()}
                found |= children
                left.extend(children)
    return found
