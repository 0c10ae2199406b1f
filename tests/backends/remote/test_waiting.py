"""Servers that make a run wait: a queue, and silence before or in the middle of an answer.

The doubles accept and fall silent on cue; the queue is that of a real llama-server with one slot.
"""

import asyncio
import contextlib

import pytest

from paragone import Queued, Token
from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.runs.execute import NOTICE_S
from paragone_workbench.scheduling import EnginePool

STORY = "Write a very long story, with many chapters."
LONG = {"max_tokens": 30000, "ignore_eos": True}
"""Settings of an answer that lasts longer than the second after which the slots are requested, also on a busy machine."""


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


async def silent(run, seconds=NOTICE_S):
    async with asyncio.timeout(30):
        while run.silent_s < seconds:
            await asyncio.sleep(0.02)


@pytest.mark.slow
async def test_a_server_that_never_answers_is_told_as_silent(hostile, protocol):
    hostile.on_chat = lambda exchange: exchange.gone()
    async with lane_at(hostile, protocol) as lane:
        run = lane.ask(Prompt(text="Hello?"))
        await silent(run, NOTICE_S + 1)
        assert lane.state == "queued", "nothing came: it may be in a queue"
        await lane.stop()
        await lane.answered()
        assert (run.state, run.silent_s) == ("stopped", 0)


@pytest.mark.slow
async def test_a_run_goes_on_when_data_comes_again(hostile, protocol):
    resumed = asyncio.Event()

    async def chat(exchange):
        await exchange.begin()
        await exchange.say("Hel")
        await resumed.wait()
        await exchange.say("lo.")
        await exchange.send(protocol.end())

    hostile.on_chat = chat
    async with lane_at(hostile, protocol) as lane:
        run = lane.ask(Prompt(text="Hello?"))
        await silent(run)
        assert lane.state == "writing"
        resumed.set()
        await lane.answered()
        assert (run.state, run.text, run.silent_s) == ("done", "Hello.", 0)


@pytest.mark.slow
async def test_nothing_is_told_while_data_comes(hostile, protocol):
    async def chat(exchange):
        await exchange.begin()
        for _ in range(40):
            await exchange.say("x")
            await asyncio.sleep(NOTICE_S / 30)
        await exchange.send(protocol.end())

    hostile.on_chat = chat
    async with lane_at(hostile, protocol) as lane:
        run = lane.ask(Prompt(text="Hello?"))
        silences = set()
        while run.phase != "ended":
            silences.add(run.silent_s)
            await asyncio.sleep(0.02)
        assert silences == {0}


@pytest.fixture(scope="module")
def one_slot(run_llama_server):
    with run_llama_server("-c", "32768", "-np", "1") as url:
        yield url


async def test_requests_in_the_queue_of_llama_server_are_told_as_waiting_and_marked_as_shared(
    one_slot, open_smollm2
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
