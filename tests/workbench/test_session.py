"""Lanes side by side with real workers: one prompt to all, and failures that affect only one lane."""

import asyncio

import pytest
from tests.workbench.lane_helpers import answers, opened, words

from paragone import EngineCrashed

# ── One prompt to all ──────────────────────────────────────────────────────────────────────────


async def test_one_prompt_goes_to_every_lane(session, rogue, record_events):
    models = ["steady", "wide", "escapes"]
    lanes = await opened(session, *(rogue(model, max_tokens=8, rate=100) for model in models))
    events = [record_events(lane) for lane in lanes]
    session.send("hello")
    assert session.is_busy
    assert all(lane.is_busy for lane in lanes)
    await session.answered()
    assert not session.is_busy
    (prompt,) = session.prompts
    runs = [lane.answer(prompt) for lane in lanes]
    assert [run.state for run in runs] == ["done"] * 3
    assert runs[0].text == words(8)
    assert runs[1].text == "".join(f"語{number}😀 " for number in range(8))
    assert runs[2].text.count("\x1b]0;owned") == 8
    for run, it in zip(runs, events, strict=True):
        assert "".join(it.texts) == run.text


async def test_engines_that_failed_are_not_reopened_automatically(session, rogue, record_events):
    (lane,) = await opened(session, rogue("nonsense"))
    events = record_events(lane)
    other = session.add_lane(rogue())
    session.open_engines()
    await other.engine.opened()
    assert (lane.state, other.state) == ("failed", "ready")
    assert events.states == []
    await lane.restart()
    await lane.engine.opened()
    assert events.states == ["loading", "failed"]


# ── A failure stays in its lane ────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("model", "mode", "sentence"),
    [
        ("exit", "parallel", "The engine's process ended unexpectedly with exit code 3."),
        ("raises", "sequential", "The engine failed: RuntimeError: the kernel image is unhappy."),
    ],
)
async def test_a_failure_affects_only_its_lane(session, rogue, record_events, model, mode, sentence):
    """Each kind of crash is in the test of workers with the same engines."""
    session.pool.scheduler.mode = mode
    bad, good = await opened(session, rogue(model), rogue(max_tokens=30))
    events = record_events(bad)
    assert await answers(session, "hello") == [words(5), words(30)], (
        "the complete answer of one lane, the partial answer of the other"
    )
    (prompt,) = session.prompts
    run, other = bad.answer(prompt), good.answer(prompt)
    assert (run.state, run.result.finish) == ("failed", None)
    assert run.error is bad.error
    assert run.error.sentence == sentence
    assert run.result.metrics.completion_tokens == 5
    assert (other.state, other.error, good.state) == ("done", None, "done")
    crashed = model != "raises"
    assert isinstance(run.error, EngineCrashed) == crashed
    assert bad.state == ("crashed" if crashed else "failed")
    assert bad.engine.is_open != crashed
    assert events.others == ["prompted hello", "started hello", "ended failed"]
    assert events.states[-1] == bad.state
    if crashed:
        assert await answers(session, "anybody there?") == ["", words(30)], "a crashed engine is not asked"
        assert bad.state == "crashed"
    await bad.restart()
    assert await bad.engine.opened()
    assert bad.error is None
    session.regenerate(bad)
    await session.answered()
    assert bad.answer(session.prompts[-1]).text == words(5), (
        "the restarted engine fails again at the same word"
    )


# ── Stopping ───────────────────────────────────────────────────────────────────────────────────


async def test_stopping_all_lanes_in_any_state(session, rogue, until, be_impatient):
    loading = session.add_lane(rogue(load_s=60))
    reading = session.add_lane(rogue(prefill_s=60))
    writing = session.add_lane(rogue(max_tokens=10**6, rate=50))
    broken = session.add_lane(rogue("nonsense"))
    session.open_engines()
    await broken.engine.opened()
    session.send("hello")
    (prompt,) = session.prompts
    await until(lambda: reading.state == "reading" and writing.state == "writing")
    assert (loading.state, broken.state) == ("loading", "failed")
    await session.stop()
    await session.answered()
    assert [lane.answer(prompt).state for lane in (loading, reading, writing)] == ["stopped"] * 3
    assert [lane.state for lane in session.lanes] == ["loading", "stopped", "stopped", "failed"]
    assert writing.answer(prompt).text
    be_impatient()


# ── One after the other, and sharing the cores ─────────────────────────────────────────────────


async def test_a_sequence_continues_after_a_failure_and_a_stop(session, rogue, until):
    session.pool.scheduler.mode = "sequential"
    lanes = await opened(session, rogue("killed"), rogue(max_tokens=10**6, rate=50), rogue(max_tokens=2))
    session.send("hello")
    await until(lambda: lanes[1].state == "writing")
    await lanes[1].stop()
    await session.answered()
    assert [run.state for lane in lanes for run in lane.path] == ["failed", "stopped", "done"]


async def test_lanes_that_run_at_once_share_the_cores(session, rogue, monkeypatch):
    monkeypatch.setattr("paragone_workbench.scheduling.physical_cores", lambda: 8)
    threads = rogue("threads", max_tokens=1)
    first = session.add_lane(threads)
    session.open_engines()
    assert await answers(session, "alone") == ["8 "]
    assert first.engine.loaded.facts["threads"] == "8"
    await opened(session, threads)
    assert await answers(session, "two") == ["4 ", "4 "]
    await opened(session, threads)
    assert await answers(session, "three") == ["2 ", "2 ", "2 "]
    with monkeypatch.context() as fewer:
        fewer.setattr("paragone_workbench.scheduling.physical_cores", lambda: 2)
        assert await answers(session, "more lanes than cores") == ["1 "] * 3
    with monkeypatch.context() as remote:
        is_local = property(lambda engine: engine is not session.lanes[2].engine)
        remote.setattr(type(first.engine), "is_local", is_local)
        assert (await answers(session, "one is on a server"))[:2] == ["4 ", "4 "]
    session.pool.scheduler.mode = "sequential"
    assert await answers(session, "one after the other") == ["8 ", "8 ", "8 "]
    session.pool.scheduler.mode = "parallel"
    session.regenerate(first)
    await session.answered()
    assert first.answer(session.prompts[-1]).text == "8 ", "the other engines are idle"


# ── The end ────────────────────────────────────────────────────────────────────────────────────


async def test_close_leaves_no_worker_in_any_state_of_the_lanes(session, rogue, until, workers, be_impatient):
    loading = session.add_lane(rogue(load_s=60))
    reading = session.add_lane(rogue(prefill_s=60))
    writing = session.add_lane(rogue(max_tokens=10**6, rate=50))
    crashed = session.add_lane(rogue("killed", at=0))
    idle = session.add_lane(rogue())
    session.open_engines()
    await asyncio.gather(*(lane.engine.opened() for lane in (reading, writing, crashed, idle)))
    session.send("hello")
    await until(
        lambda: reading.state == "reading" and writing.state == "writing" and crashed.state == "crashed"
    )
    (prompt,) = session.prompts
    be_impatient()
    await asyncio.gather(session.close(), session.close())
    assert workers() == []
    assert [lane.state for lane in session.lanes] == ["empty"] * 5
    assert [lane.answer(prompt).state for lane in (loading, reading, writing)] == ["stopped"] * 3
    assert writing.answer(prompt).text
    assert crashed.answer(prompt).state == "failed"


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


# ── The real thing ─────────────────────────────────────────────────────────────────────────────


async def test_closing_waits_for_what_the_opening_has_started(session, rogue, monkeypatch):
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
