"""Closing, replacing and restarting a lane's engine at any time, with a real worker."""

import asyncio

import pytest
from tests.workbench.lane_helpers import LONG, ask, words


@pytest.mark.parametrize("steps", [2, 34])
async def test_a_lane_can_be_closed_at_any_moment_of_opening(make_lane, workers, steps):
    """`steps` of the event loop pass before: starting the process, the pipe, the handshake."""
    lane = make_lane()
    lane.open()
    for _ in range(steps):
        await asyncio.sleep(0)
    await lane.close()
    assert lane.state == "empty"
    assert workers() == []


async def test_a_lane_can_be_closed_twice_and_during_a_stop(make_lane, until, workers, be_impatient):
    lane = make_lane("deaf")
    lane.open()
    run = ask(lane)
    await until(lambda: run.text == words(5))
    be_impatient()
    await asyncio.gather(lane.stop(), lane.close(), lane.close())
    assert lane.state == "empty"
    assert not lane.is_busy
    assert workers() == []
    await lane.close()


async def test_an_engine_can_be_reopened_while_it_is_being_closed(make_lane, until):
    lane = make_lane(**LONG)
    lane.open()
    run = ask(lane)
    await until(lambda: run.text)
    closing = asyncio.create_task(lane.close())
    await asyncio.sleep(0)
    lane.open()
    await closing
    assert run.state == "stopped"
    assert await lane.engine.opened()
    assert lane.state == "ready"


async def test_swapping_engines_twice_quickly_ends_with_the_second(make_lane, rogue, until, workers):
    lane = make_lane(**LONG)
    lane.open()
    run = ask(lane)
    await until(lambda: run.text)
    await asyncio.gather(
        lane.swap(rogue("nonsense")), lane.swap(rogue("escapes", load_s=60)), lane.swap(rogue("wide"))
    )
    assert await lane.engine.opened()
    assert (lane.engine.definition.model, lane.engine.loaded.name, lane.state) == ("wide", "wide", "ready")
    assert len(workers()) == 1


async def test_a_swap_continues_if_its_caller_is_cancelled(make_lane, rogue, until, workers, be_impatient):
    lane = make_lane("deaf")
    lane.open()
    run = ask(lane)
    await until(lambda: run.text == words(5))
    be_impatient()
    caller = asyncio.create_task(lane.swap(rogue("wide", max_tokens=1)))
    await asyncio.sleep(0)
    caller.cancel()
    with pytest.raises(asyncio.CancelledError):
        await caller
    await lane.answered()
    assert (run.state, run.text, lane.engine.is_opening) == ("stopped", words(5), True)
    again = ask(lane, "while the old engine is closing")
    await lane.answered()
    assert (again.text, again.result.definition.name, lane.path) == ("語0😀 ", "wide", (run, again))
    assert len(workers()) == 1
