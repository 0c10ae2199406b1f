"""Runs without a lane: one request to one engine, and its record."""

import asyncio
import json

import pytest
from rogue_backend.definitions import rogue

from paragone import Image, InputError
from paragone.worker import protocol
from paragone_workbench.runs.run import RunObserver, RunSpec
from paragone_workbench.workbench import Workbench

HELLO = RunSpec.of_prompt("hello")


class Heard(RunObserver):
    """Records the events of a run, in order."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.text = ""
        self.phases: list[str] = []
        """The phases that the observer was told, without those that `run_started` and `run_ended` tell."""

    def run_changed(self, run):
        self.phases.append(run.phase)

    def run_started(self, run):
        assert run.result.manifest
        self.said.append("started")

    def text_came(self, run, channel, text):
        self.text += text
        assert run.text == self.text, "the run already contains the text"

    def cautioned(self, run, caution):
        self.said.append(caution.code)

    def run_ended(self, run):
        assert run.phase == "ended"
        self.said.append(run.state)


@pytest.fixture
async def workbench(check_nothing_left):
    async with Workbench() as made:
        yield made


async def test_a_run_is_executed_without_a_lane(workbench):
    engine = workbench.add(rogue("steady", max_tokens=3))
    engine.open()
    heard = Heard()
    execution = workbench.run(engine, HELLO, heard)
    result = await execution.result()
    assert heard.said == ["started", "done"]
    assert heard.text == result.text == "word0 word1 word2 "
    assert heard.phases.count("decode") == 1, "text tells the figures"
    assert (result.state, result.finish) == ("done", "length")
    assert result.loaded is not None
    assert result.metrics is not None
    assert result.metrics.completion_tokens == 3
    assert execution.run.result is result
    assert (execution.run.phase, execution.run.spec, execution.run.prompt) == ("ended", HELLO, None)


async def test_the_text_streams(workbench):
    engine = await workbench.open("rogue:steady", max_tokens=5, rate=1000)
    pieces = [text async for text in workbench.ask(engine, "hello").text()]
    assert len(pieces) > 1
    assert "".join(pieces) == "".join(f"word{number} " for number in range(5))


async def test_settings_in_force_are_in_the_record(workbench):
    engine = await workbench.open("rogue:steady", max_tokens=3)
    run = await workbench.ask(engine, "hello", rate=500).result()
    assert run.settings is not None
    assert run.settings.sampling == {"max_tokens": 3, "rate": 500, "prefill_s": 0.0, "at": 5}


async def test_an_engine_has_one_run_at_a_time(workbench):
    engine = await workbench.open("rogue:steady", max_tokens=20, rate=5000)
    first, second = workbench.ask(engine, "one"), workbench.ask(engine, "two")
    await asyncio.gather(first.ended(), second.ended())
    one, two = first.run, second.run
    assert one.meter is not None
    assert two.meter is not None
    assert one.meter._recent[-1] <= two.meter._recent[0]


async def test_errors_are_in_the_record_and_are_raised_on_request(workbench):
    engine = await workbench.open("rogue:steady")
    execution = workbench.ask(engine, "hello", rate=-1)
    with pytest.raises(InputError, match="rate"):
        await execution.result()
    assert execution.run.state == "failed"
    with pytest.raises(InputError, match="rate"):
        [text async for text in workbench.ask(engine, "hello", rate=-1).text()]
    assert (await workbench.ask(engine, "hello", max_tokens=1).result()).text == "word0 "


async def test_an_engine_that_cannot_be_opened_is_reported(workbench):
    with pytest.raises(InputError, match="There is no model 'nonsense'"):
        await workbench.open("rogue:nonsense")
    assert workbench.engines == []


async def test_closing_stops_running_and_waiting_runs(workbench):
    engine = await workbench.open("rogue:steady", max_tokens=10**6, rate=100)
    heard = Heard()
    running = workbench.run(engine, HELLO, heard)
    waiting = workbench.run(engine, HELLO)
    async for _ in running.text():
        break
    await workbench.close()
    assert (running.run.state, waiting.run.state) == ("stopped", "stopped")
    assert heard.text
    assert (waiting.run.text, waiting.run.result.manifest) == ("", {})


async def test_a_request_is_serialized_once_with_its_images(workbench, monkeypatch):
    image = Image(data="QUJD" * 1000, media_type="image/png", name="it.png")
    engine = await workbench.open("rogue:seeing", max_tokens=1)
    dumped: list[str] = []
    encode = protocol._encode

    def noted(message):
        dumped.append(encode(message))
        return dumped[-1]

    monkeypatch.setattr(protocol, "_encode", noted)
    run = await workbench.run(engine, RunSpec.of_prompt("Which?", images=[image])).result()
    assert run.text == "it.png "
    assert sum(text.count(image.data) for text in dumped) == 1
    assert image.data not in json.dumps(run.manifest)
    assert run.manifest["request"]["messages"] == 1


async def test_runs_after_the_stop_are_not_executed(workbench):
    engine = await workbench.open("rogue:steady")
    await workbench.stop()
    execution = workbench.run(engine, HELLO)
    await execution.ended()
    assert (execution.run.state, execution.run.text) == ("stopped", "")


async def test_engines_that_were_closed_take_no_cores(workbench):
    first = await workbench.open("rogue:threads", max_tokens=1)
    alone = (await workbench.ask(first, "hello").result()).text
    await first.close()
    second = await workbench.open("rogue:threads", max_tokens=1)
    assert (await workbench.ask(second, "hello").result()).text == alone
