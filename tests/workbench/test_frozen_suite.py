"""A suite whose engine's process freezes: a signal stops that of a test double."""

import asyncio

import psutil
from rogue_backend.plugin import RogueBackend
from tests.workbench.history_file import open_history
from tests.workbench.suites import Suites, suite

from paragone.worker import client
from paragone.worker.native import WorkerEngine

from .conftest import Backends


class Opened(RogueBackend):
    """The rogue backend, with the process of each engine that it has opened."""

    def __init__(self):
        self.processes = []

    async def open(self, request, on_progress):
        engine = await super().open(request, on_progress)
        assert isinstance(engine, WorkerEngine)
        self.processes.append(psutil.Process(engine.worker.pid))
        return engine


async def test_a_frozen_engine_is_ended_and_opened_again(check_nothing_left, rogue, until, monkeypatch):
    monkeypatch.setattr(client, "FREEZE_CHECK_S", 0.1)
    backend = Opened()
    history = await open_history()
    suites = Suites(history, Backends(backend))
    engine = rogue(rate=500, max_tokens=50)
    running = asyncio.create_task(suites.run(suite("x", "y"), engine))
    await until(lambda: backend.processes)
    backend.processes[0].suspend()
    await running
    results = [it.result for it in await suites.saved()]
    await history.close()
    assert not backend.processes[0].is_running()
    assert len(backend.processes) == 2
    (frozen,) = [result for result in results if result.error]
    (answered,) = [result for result in results if not result.error]
    assert "did nothing" in frozen.error
    assert answered.finish == "length"
