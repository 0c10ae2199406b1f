"""Engines that end or freeze, and loads that are stopped."""

import psutil
from tests.workbench.lane_helpers import LONG, ask, words

from paragone import EngineCrashed
from paragone.worker import client as worker_client
from paragone_workbench.runs import execute


def process_of(lane) -> psutil.Process:
    return psutil.Process(lane.engine._opened.pid)


async def test_an_engine_that_dies_during_a_run_is_reported_once(make_lane, record_events, until):
    lane = make_lane(**LONG)
    events = record_events(lane)
    lane.open()
    run = ask(lane)
    await until(lambda: run.text)
    process_of(lane).kill()
    await lane.answered()
    await until(lambda: lane.state == "crashed")
    assert isinstance(run.error, EngineCrashed)
    assert events.others == [
        "prompted hello",
        "started hello",
        f"failed {run.error.message}",
        "ended failed",
    ]


async def test_a_frozen_engine_is_reported_as_silent_during_a_run(make_lane, until, monkeypatch):
    monkeypatch.setattr(execute, "NOTICE_LOCAL_S", 1)
    monkeypatch.setattr(worker_client, "GRACE", 0.1)
    lane = make_lane()
    lane.open()
    assert await lane.engine.opened()
    process_of(lane).suspend()
    run = ask(lane)
    await until(lambda: run.silent_s)
    assert lane.state == "reading", "a local engine has no queue"
    await lane.stop()  # which kills what does not obey
    await lane.answered()
    assert (run.silent_s, lane.state) == (0, "crashed")
    assert "did not stop" in lane.error.message


async def test_a_stopped_load_can_be_restarted(make_lane, rogue):
    lane = make_lane(load_s=3600)
    lane.open()
    lane.engine.stop_opening()
    await lane.swap(rogue(max_tokens=2))
    run = ask(lane)
    await lane.answered()
    assert run.text == words(2)
    lane.engine.stop_opening()
    assert lane.state == "done", "an open engine has nothing to stop"
