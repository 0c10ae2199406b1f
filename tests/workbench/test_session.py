"""Lanes side by side with real workers: one prompt to all, and failures that affect only one lane."""

import asyncio

from tests.workbench.lane_helpers import answers, opened, words


async def test_lanes_can_be_stopped_and_closed_in_any_state(session, rogue, until, workers, be_impatient):
    loading = session.add_lane(rogue(load_s=60))
    reading = session.add_lane(rogue(prefill_s=60))
    writing = session.add_lane(rogue(max_tokens=10**6, rate=50))
    crashed = session.add_lane(rogue("killed", at=0))
    broken = session.add_lane(rogue("nonsense"))
    session.open_engines()
    await asyncio.gather(*(lane.engine.opened() for lane in session.lanes[1:]))
    session.open_engines()
    assert (loading.state, broken.state) == ("loading", "failed"), "only `restart` opens it again"
    for text in ("hello", "again"):
        session.send(text)
        prompt = session.prompts[-1]
        await until(lambda: reading.state == "reading" and writing.state == "writing")
        await until(lambda: crashed.state == "crashed")
        if text == "again":
            be_impatient()
            await asyncio.gather(session.close(), session.close())
        else:
            await session.stop()
            await session.answered()
            states = [lane.state for lane in session.lanes]
            assert states == ["loading", "stopped", "stopped", "crashed", "failed"]
            assert crashed.answer(prompt).state == "failed"
        assert [lane.answer(prompt).state for lane in (loading, reading, writing)] == ["stopped"] * 3
        assert writing.answer(prompt).text
    assert workers() == []
    assert [lane.state for lane in session.lanes] == ["empty"] * 5


async def test_a_sequence_continues_after_a_failure_and_a_stop(session, rogue, until):
    session.pool.mode = "sequential"
    lanes = await opened(session, rogue("killed"), rogue(max_tokens=10**6, rate=50), rogue(max_tokens=2))
    session.send("hello")
    await until(lambda: lanes[1].state == "writing")
    await lanes[1].stop()
    await session.answered()
    assert [run.state for lane in lanes for run in lane.path] == ["failed", "stopped", "done"]


async def test_concurrent_lanes_share_the_cores(session, rogue, monkeypatch):
    monkeypatch.setattr("paragone_workbench.runs.scheduler.physical_cores", lambda: 8)
    threads = rogue("threads", max_tokens=1)
    first = session.add_lane(threads)
    session.open_engines()
    assert await answers(session, "alone") == ["8 "]
    assert first.engine.loaded.facts["threads"] == "8"
    await opened(session, threads)
    assert await answers(session, "two") == ["4 ", "4 "]
    session.pool.mode = "sequential"
    assert await answers(session, "one after the other") == ["8 ", "8 "]
    session.pool.mode = "parallel"
    session.regenerate(first)
    await session.answered()
    assert first.answer(session.prompts[-1]).text == "8 ", "the other engines are idle"


async def test_close_waits_for_lanes_that_are_being_removed(session, rogue, until, workers, be_impatient):
    deaf, _ = await opened(session, rogue("deaf"), rogue())
    session.send("hello")
    await until(lambda: deaf.answer(session.prompts[0]).text == words(5))
    be_impatient()
    leaving = asyncio.create_task(session.close_lane(deaf))
    await asyncio.sleep(0)
    leaving.cancel()
    await session.close()
    assert workers() == []


async def test_closing_waits_for_processes_that_opening_has_started(session, rogue, monkeypatch):
    """Else the event loop could end before a process that was started, and asyncio would complain."""
    session.add_lane(rogue())
    begun, ends = asyncio.Event(), []

    async def opening():
        try:
            begun.set()
            await asyncio.Event().wait()
        finally:
            for _ in range(100):  # such as a process that is killed
                await asyncio.sleep(0)
            ends.append("ended")

    monkeypatch.setattr(session.pool, "open_all", opening)
    session.open_engines_soon()
    await begun.wait()
    await session.close()
    assert ends == ["ended"]
