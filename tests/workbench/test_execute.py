"""Runs without a lane: one request to one engine, and its record."""

import asyncio
import contextlib
import json

import pytest
from rogue_backend.definitions import rogue

from paragone import Finish, Image, InputError, Token
from paragone.worker import protocol
from paragone_workbench.runs.run import RunSpec
from paragone_workbench.workbench import Workbench

HELLO = RunSpec.of_prompt("hello")


@pytest.fixture
async def workbench(check_nothing_left):
    async with Workbench() as made:
        yield made


async def test_a_run_reports_each_change_and_yields_its_engines_events(workbench):
    engine = workbench.add(rogue("steady", max_tokens=3))
    engine.open()
    seen: list[tuple[str, str]] = []

    def look(run):
        assert run.phase == "waiting" or run.state == "failed" or run.result.manifest
        seen.append((run.phase, run.text))

    run = workbench.run(engine, HELLO, look)
    events = [event async for event in run]
    result = await run
    assert "".join(it.text for it in events if isinstance(it, Token)) == result.text == "word0 word1 word2 "
    assert isinstance(events[-1], Finish)
    assert len(seen) == len(events) + 2, "one for each event, the start and the end"
    assert (seen[0], seen[-1]) == (("prefill", ""), ("ended", result.text))
    assert ("decode", "word0 ") in seen
    assert (result.state, result.finish) == ("done", "length")
    assert result.loaded is not None
    assert result.metrics is not None
    assert result.metrics.completion_tokens == 3
    assert run.result is result
    assert (run.phase, run.spec, run.prompt) == ("ended", HELLO, None)
    assert [event async for event in run] == []


async def test_the_engine_waits_for_a_slow_reader_but_not_for_one_that_left(workbench):
    engine = await workbench.open("rogue:steady", max_tokens=500, rate=10**6)
    run = workbench.run(engine, HELLO)
    async with contextlib.aclosing(run.events(4)) as events:
        await anext(events)
        while not run.readers[0].full():
            await asyncio.sleep(0)
        for _ in range(200):
            await asyncio.sleep(0)
        assert run.meter.tokens <= 6
    assert (await run).metrics.completion_tokens == 500


async def test_the_text_of_a_run_is_streamed(workbench):
    engine = await workbench.open("rogue:steady", max_tokens=5, rate=1000)
    pieces = [text async for text in workbench.ask(engine, "hello").stream()]
    assert len(pieces) > 1
    assert "".join(pieces) == "".join(f"word{number} " for number in range(5))


async def test_active_settings_are_in_the_result(workbench):
    engine = await workbench.open("rogue:steady", max_tokens=3)
    run = await workbench.ask(engine, "hello", rate=500)
    assert run.settings is not None
    assert run.settings.sampling == {"max_tokens": 3, "rate": 500, "prefill_s": 0.0, "at": 5}


async def test_an_engine_has_one_run_at_a_time(workbench):
    engine = await workbench.open("rogue:steady", max_tokens=20, rate=5000)
    first, second = workbench.ask(engine, "one"), workbench.ask(engine, "two")
    await asyncio.gather(first.ended(), second.ended())
    assert first.meter is not None
    assert second.meter is not None
    assert first.meter._recent[-1] <= second.meter._recent[0]


async def test_errors_are_in_the_result_and_raised_when_awaited(workbench):
    engine = await workbench.open("rogue:steady")
    run = workbench.ask(engine, "hello", rate=-1)
    with pytest.raises(InputError, match="rate"):
        await run
    assert run.state == "failed"
    with pytest.raises(InputError, match="rate"):
        [text async for text in workbench.ask(engine, "hello", rate=-1).stream()]
    assert (await workbench.ask(engine, "hello", max_tokens=1)).text == "word0 "


async def test_an_engine_that_cannot_be_opened_is_reported(workbench):
    with pytest.raises(InputError, match="There is no model 'nonsense'"):
        await workbench.open("rogue:nonsense")
    assert workbench.engines == []


async def test_closing_stops_running_and_waiting_runs(workbench):
    engine = await workbench.open("rogue:steady", max_tokens=10**6, rate=100)
    running = workbench.run(engine, HELLO)
    waiting = workbench.run(engine, HELLO)
    async for _ in running.stream():
        break
    await workbench.close()
    assert (running.state, waiting.state) == ("stopped", "stopped")
    assert running.text
    assert (waiting.text, waiting.result.manifest) == ("", {})


async def test_a_request_is_serialized_once_with_its_images(workbench, monkeypatch):
    image = Image(data="QUJD" * 1000, media_type="image/png", name="it.png")
    engine = await workbench.open("rogue:seeing", max_tokens=1)
    dumped: list[str] = []
    encode = protocol._encode

    def noted(message):
        dumped.append(encode(message))
        return dumped[-1]

    monkeypatch.setattr(protocol, "_encode", noted)
    run = await workbench.run(engine, RunSpec.of_prompt("Which?", images=[image]))
    assert run.text == "it.png "
    assert sum(text.count(image.data) for text in dumped) == 1
    assert image.data not in json.dumps(run.manifest)
    assert run.manifest["request"]["messages"] == 1


async def test_runs_after_the_stop_are_not_executed(workbench):
    engine = await workbench.open("rogue:steady")
    await workbench.stop()
    run = workbench.run(engine, HELLO)
    await run.ended()
    assert (run.state, run.text) == ("stopped", "")


async def test_closed_engines_do_not_count_for_the_share_of_cores(workbench):
    first = await workbench.open("rogue:threads", max_tokens=1)
    alone = (await workbench.ask(first, "hello")).text
    await first.close()
    second = await workbench.open("rogue:threads", max_tokens=1)
    assert (await workbench.ask(second, "hello")).text == alone
