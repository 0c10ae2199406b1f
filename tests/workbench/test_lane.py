"""One lane over a real worker: its states, engines that cannot be opened, and stopping."""

import asyncio

import pytest
from tests.workbench.lane_helpers import LONG, ask, words

from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.lane import Lane
from paragone_workbench.runs.scheduler import EnginePool


async def test_a_lane_reports_each_change_of_its_state(make_lane, record_events):
    lane = make_lane("cautious", max_tokens=3)
    events = record_events(lane)
    lane.open()
    assert (lane.state, lane.engine.is_opening, lane.engine.is_open) == ("loading", True, False)
    assert await lane.engine.opened()
    assert events.fractions[-1] == 1.0
    assert lane.engine.loaded is not None
    assert lane.engine.load_s is not None
    run = ask(lane, "one")
    assert lane.is_busy
    await lane.answered()
    assert events.states == ["loading", "ready", "waiting", "reading", "writing", "done"]
    assert events.others == ["cautioned test", "prompted one", "started one", "ended done"]
    assert events.text == run.text == words(3)
    assert (run.state, run.result.finish, run.error, run.result.definition.name) == (
        "done",
        "length",
        None,
        "cautious",
    )
    assert lane.path == (run,)
    assert lane.engine.load_s is None, "the load time belongs to the first run only"
    await lane.swap(EngineDefinition(name="gone", backend="rogue", model="steady", python="/nowhere/python"))
    await lane.engine.opened()
    assert (lane.state, lane.last) == ("failed", None), "the figures of the engine before are gone"


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        (
            {"backend": "rogue", "model": "steady", "options": {"contxt": 1}},
            "The engine 'it' has no option 'contxt': its backend rogue does not declare it.",
        ),
        (
            {"backend": "rogue", "model": "steady", "python": "/nowhere/python"},
            "The interpreter /nowhere/python cannot be started: No such file or directory.",
        ),
    ],
)
async def test_an_engine_that_cannot_be_opened_fails_the_lane(
    check_nothing_left, record_events, definition, message
):
    lane = Lane(EngineDefinition(name="it", **definition), EnginePool(Registry()))
    events = record_events(lane)
    lane.open()
    run = ask(lane)
    await lane.answered()
    assert not await lane.engine.opened()
    assert lane.state == "failed"
    assert events.states == ["loading", "failed"]
    assert lane.error is not None
    assert lane.error.message == message
    assert (run.state, run.error, run.text, run.result.metrics) == ("failed", lane.error, "", None)
    assert events.others == ["prompted hello", f"failed {message}", "ended failed"]
    await lane.close()


async def test_stopping_twice_or_without_a_run_has_no_effect(make_lane, until):
    lane = make_lane(**LONG)
    await lane.stop()
    lane.open()
    await lane.engine.opened()
    await lane.stop()
    run = ask(lane)
    await until(lambda: run.text)
    await asyncio.gather(lane.stop(), lane.stop())
    await lane.stop()
    await lane.answered()
    assert run.state == "stopped"
    await lane.stop()
    assert lane.state == "stopped"
