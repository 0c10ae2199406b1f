"""Engines that send more than a run keeps, or faster than the program reads."""

import asyncio
import time
import tracemalloc

import pytest
from bench.instant_engine import InstantRegistry

from paragone import Caution, Finish, Token
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.runs import execute
from paragone_workbench.runs.run import MOST_CAUTIONS, RunSpec
from paragone_workbench.workbench import Workbench

HELLO = RunSpec.of_prompt("hello")


async def flood(events, meanwhile=None):
    """Return the result of a run with these events."""

    def answer(request):
        yield from events
        yield Finish(reason="stop", time=time.monotonic())

    async with Workbench(InstantRegistry(answer)) as workbench:
        engine = workbench.add(EngineDefinition(name="flood", backend="instant", model="flood"))
        engine.open()
        assert await engine.opened()
        run = workbench.run(engine, HELLO)
        if meanwhile is not None:
            await meanwhile(run)
        return await run


async def test_other_tasks_run_during_a_flood_of_events(monkeypatch):
    monkeypatch.setattr(execute, "PAUSE_AFTER_S", 0.0)
    lengths = set()

    async def watch(run):
        while run.phase != "ended":
            lengths.add(len(run.text))
            await asyncio.sleep(0)

    result = await flood((Token(text="word ", time=0.0) for _ in range(5_000)), watch)
    assert len(result.text) == 25_000
    assert len(lengths) > 10


@pytest.mark.thorough
async def test_a_run_keeps_a_bounded_number_of_warnings():
    result = await flood(Caution(code="loud", sentence=f"warning {number}") for number in range(2_000))
    assert len(result.cautions) == MOST_CAUTIONS + 1
    assert result.cautions[99].sentence == "warning 99"
    assert "more than 100 warnings" in result.cautions[100].sentence


@pytest.mark.thorough
async def test_the_text_of_a_run_takes_little_more_than_its_characters():
    memory = []

    def events():
        for number in range(16_000):
            if number % 15_000 == 999:
                memory.append(tracemalloc.get_traced_memory()[0])
            yield Token(text=f"{number:05}", time=float(number))

    tracemalloc.start()
    try:
        await flood(events())
    finally:
        tracemalloc.stop()
    # Five for the text, and sixteen for the time and the latency, of which a bounded number is kept. What is on its way
    # at these moments differs by up to 75 kB.
    assert (memory[1] - memory[0]) / 15_000 < 30
