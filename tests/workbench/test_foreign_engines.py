"""Engines of other authors in this process: one that blocks counts as crashed, and everything else goes on."""

from __future__ import annotations

import asyncio
import threading

import httpx
import pytest
from blocking_backend import BlockingBackend
from tests.workbench.conftest import Backends
from tests.workbench.serving_client import client_of

from paragone import EngineCrashed, TokenizeRequest
from paragone_workbench.engines import plugin_engine as foreign_engine
from paragone_workbench.engines import plugin_threads as event_loop
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.scheduling import EnginePool
from paragone_workbench.serving.served_engine import ServedEngines
from paragone_workbench.workbench import Workbench


@pytest.fixture
def quick(monkeypatch):
    """Engines that block are given up soon."""
    monkeypatch.setattr(event_loop, "BEAT_S", 0.05)


@pytest.fixture
async def workbench(end, check_nothing_left):
    async with Workbench(Backends(BlockingBackend(end))) as workbench:
        yield workbench


def added(workbench: Workbench, model: str):
    engine = workbench.add(EngineDefinition(name=model, backend="blocking", model=model))
    engine.open()
    return engine


@pytest.mark.parametrize("model", ["prefill", "decode", "busy"])
async def test_an_engine_that_blocks_counts_as_crashed(workbench, quick, model):
    blocking, other = added(workbench, model), added(workbench, "other")
    execution = workbench.ask(blocking, "hello")
    answer = await workbench.ask(other, "hello").result()
    assert answer.text == "one ", "the other engine answers meanwhile"
    with pytest.raises(EngineCrashed, match="An engine of the backend blocking gave no sign of life"):
        await execution.result()
    assert execution.run.text == ("" if model == "prefill" else "one ")
    assert blocking.state == "crashed"
    blocking.open()
    assert await blocking.opened(), "it can be opened again, in another thread"


async def test_a_stop_that_blocks(workbench, quick):
    engine = added(workbench, "stop")
    execution = workbench.ask(engine, "hello")
    while not execution.run.text:
        await asyncio.sleep(0.001)
    await execution.stop()
    await execution.ended()
    while engine.state != "crashed":
        await asyncio.sleep(0.005)


async def test_a_question_that_blocks(workbench, quick):
    engine = added(workbench, "tokenize")
    assert await engine.opened()
    with pytest.raises(EngineCrashed):
        await engine.engine.tokenize(TokenizeRequest(text="hello"))
    while engine.state != "crashed":
        await asyncio.sleep(0.005)


async def test_a_close_that_blocks_is_given_up(workbench, quick):
    engine = added(workbench, "close")
    assert await engine.opened()
    await engine.close()
    assert engine.state == "closed"


async def test_an_engine_that_blocked_is_closed_once_it_can_be(workbench, quick, end):
    engine = added(workbench, "decode")
    execution = workbench.ask(engine, "hello")
    while not execution.run.text:
        await asyncio.sleep(0.001)
    double = engine.engine.engine.engine
    await execution.ended()
    assert engine.state == "crashed"
    await engine.close()
    assert double.closings == 0
    await closed_once(double, end)


async def test_an_idle_engine_that_blocks_is_closed_once_it_can_be(workbench, end, monkeypatch):
    monkeypatch.setattr(foreign_engine, "CLOSING_S", 0.05)
    engine = added(workbench, "other")
    assert await engine.opened()
    foreign = engine.engine.engine
    foreign._loop._running.result().call_soon_threadsafe(end.wait)
    await engine.close()
    assert foreign.engine.closings == 0
    await closed_once(foreign.engine, end)


async def closed_once(double, end):
    end.set()
    while not double.closings:
        await asyncio.sleep(0.005)
    assert double.closings == 1


async def test_an_opening_that_blocks_can_be_stopped(workbench, end, monkeypatch):
    monkeypatch.setattr(event_loop, "ENDING_S", 0.05)
    engine = added(workbench, "open")
    while not engine.load_fraction:
        await asyncio.sleep(0.001)
    engine.stop_opening()
    await engine.opened()
    assert engine.state == "stopped"


async def test_a_stop_reaches_the_engine_on_its_own_loop(workbench):
    execution = workbench.ask(added(workbench, "waits"), "hello")
    while not execution.run.text:
        await asyncio.sleep(0.001)
    await execution.stop()
    assert (await execution.result()).finish == "cancelled"


async def test_an_engine_that_is_slow_is_no_crash(workbench, monkeypatch):
    """Each token is a sign of life, however the engine computes it."""
    monkeypatch.setattr(event_loop, "BEAT_S", 0.06)
    monkeypatch.setattr(event_loop, "MOST_MISSED", 3)
    assert (await workbench.ask(added(workbench, "slow"), "hello").result()).text == "one " + "two " * 8


async def test_an_engine_that_never_waits_is_read_no_faster_than_its_tokens_are_used(workbench):
    """The events that are ahead of the reader are bounded, and leaving it ends the engine's work."""
    engine = added(workbench, "endless")
    execution = workbench.ask(engine, "hello")
    while len(execution.run.text) < 50_000:
        await asyncio.sleep(0)
    execution._task.cancel()
    await execution.ended()
    assert execution.run.state == "interrupted"
    assert engine.is_open


async def test_an_error_of_the_engine_is_its_error(workbench):
    execution = workbench.ask(added(workbench, "fails"), "hello")
    await execution.ended()
    assert "raised an unexpected error (ZeroDivisionError: on cue)" in execution.run.result.error


async def test_no_thread_is_left(workbench):
    before = threading.active_count()
    engine = added(workbench, "other")
    await workbench.ask(engine, "hello").result()
    await engine.close()
    while threading.active_count() > before:
        await asyncio.sleep(0.005)


async def test_a_server_goes_on_while_an_engine_blocks(end, quick, check_nothing_left):
    names = ("decode", "other")
    definitions = [EngineDefinition(name=name, backend="blocking", model=name) for name in names]
    engines = ServedEngines(EnginePool(Backends(BlockingBackend(end))), definitions)

    async def chat(client: httpx.AsyncClient, model: str) -> httpx.Response:
        messages = [{"role": "user", "content": "hello"}]
        return await client.post("/v1/chat/completions", json={"model": model, "messages": messages})

    async with client_of(engines) as client:
        blocked = asyncio.create_task(chat(client, "decode"))
        assert (await chat(client, "other")).json()["choices"][0]["message"]["content"] == "one "
        response = await blocked
        assert (response.status_code, response.json()["error"]["code"]) == (500, "engine_crashed")
        assert (await chat(client, "other")).status_code == 200
    await engines.close()
