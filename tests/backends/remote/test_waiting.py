"""Servers that make a run wait: a queue, and silence before or in the middle of an answer.

The doubles accept and fall silent on cue; the queue is that of a real llama-server with one slot.
"""

import asyncio
import contextlib
import math

import pytest
from hostile_server import OPENAI

from paragone import Queued, Token
from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.runs import execute
from paragone_workbench.runs.scheduler import EnginePool

from .conftest import PROPS

STORY = "Write a very long story, with many chapters."
LONG = {"max_tokens": 30000, "ignore_eos": True}
"""Settings of an answer that lasts until it is stopped."""


@contextlib.asynccontextmanager
async def lane_at(server, protocol):
    options = {"url": server.url, **protocol.options}
    lane = Lane(
        EngineDefinition(name="box", backend=protocol.name, model="m", options=options),
        EnginePool(Registry()),
    )
    lane.open()
    assert await lane.engine.opened(), lane.engine.error
    try:
        yield lane
    finally:
        await lane.close()


@pytest.mark.parametrize("protocol", [OPENAI])
async def test_silence_is_reported_until_data_arrives(hostile, protocol, monkeypatch):
    begun, resumed = asyncio.Event(), asyncio.Event()

    async def chat(exchange):
        await begun.wait()
        await exchange.begin()
        await exchange.say("Hel")
        await resumed.wait()
        await exchange.say("lo.")
        await exchange.send(protocol.end())

    async def state(wanted, *, is_silent):
        async with asyncio.timeout(60):
            while lane.state != wanted or bool(run.silent_s) != is_silent:
                await asyncio.sleep(0.01)

    hostile.on_chat = chat
    monkeypatch.setattr(execute, "NOTICE_S", 0.01)
    monkeypatch.setattr(execute, "int", math.ceil, raising=False)  # less than a second counts, too
    async with lane_at(hostile, protocol) as lane:
        run = lane.ask(Prompt(text="Hello?"))
        await state("queued", is_silent=True)  # nothing came: it may be in a queue
        begun.set()
        await state("writing", is_silent=True)
        resumed.set()
        await lane.answered()
        assert (run.state, run.text, run.silent_s) == ("done", "Hello.", 0)


@pytest.mark.parametrize("protocol", [OPENAI])
async def test_a_server_that_does_not_report_its_slots_delays_no_answer(
    hostile, open_lane, text, monkeypatch
):
    asked, given_up = asyncio.Event(), asyncio.Event()

    async def slots(exchange):
        asked.set()
        await exchange.gone()
        given_up.set()

    async def chat(exchange, reached):
        await reached.wait()
        await exchange.answer("Hello.")

    hostile.replies |= {"/props": PROPS, "/slots": slots}
    monkeypatch.setattr("paragone_remote.openai_servers._POLL_S", 0.01)
    lane = await open_lane(hostile)
    for seconds, reached in ((0.01, given_up), (600, asked)):  # the time ends first, or the answer comes
        reached.clear()
        hostile.on_chat = lambda exchange, reached=reached: chat(exchange, reached)
        monkeypatch.setattr("paragone_remote.openai_servers._SLOTS_S", seconds)
        events, error = await lane.ask()
        assert (text(events), error) == ("Hello.", None)


@pytest.fixture(scope="module")
def one_slot(run_llama_server):
    with run_llama_server("-c", "32768", "-np", "1") as url:
        yield url


async def test_requests_queued_at_llama_server_are_shown_as_waiting_and_shared(
    one_slot, open_smollm2, monkeypatch
):
    events = []

    async def hello(lane):
        async for event in lane.run("Hello?", max_tokens=2):
            events.append(event)  # noqa: PERF401 (the first is awaited)

    options = {"url": one_slot, **LONG}
    definition = EngineDefinition(name="box", backend="openai", model="smollm2", options=options)
    lanes = first, second = [Lane(definition, EnginePool(Registry())) for _ in range(2)]
    try:
        for lane in lanes:
            lane.open()
            assert await lane.engine.opened()
        answering = first.ask(Prompt(text=STORY))
        async with asyncio.timeout(60):
            while answering.phase != "decode":
                await asyncio.sleep(0.02)
            # from now on: the first answer would take its own prompt for another's
            monkeypatch.setattr("paragone_remote.openai_servers._POLL_S", 0.01)
            third = asyncio.create_task(hello(await open_smollm2(one_slot)))
            waiting = second.ask(Prompt(text=STORY))
            while second.state != "queued" or not events:
                await asyncio.sleep(0.02)
        await first.stop()
        await first.answered()
        async with asyncio.timeout(60):
            while waiting.phase != "decode":
                await asyncio.sleep(0.02)
        await second.stop()
        await second.answered()
        await third
        assert isinstance(events[0], Queued)
        kinds = [type(event) for event in events if not isinstance(event, Queued)]
        assert Token in kinds
        assert Queued not in kinds[1:]
        assert (answering.result.metrics.shared, waiting.result.metrics.shared) == (False, True)
    finally:
        for lane in lanes:
            await lane.close()
