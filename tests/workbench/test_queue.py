"""The queue: prompts wait for busy lanes; a stop keeps them; they can be edited, removed and sent again."""

import asyncio
from functools import partial

from tests.workbench.lane_helpers import LONG, opened


def waiting(session):
    return [(queued.text, queued.is_kept) for queued in session.queue.prompts]


def asked(lane):
    return [run.prompt.text for run in lane.path]


async def test_a_prompt_sent_after_a_stop_follows_the_stopped_answer(session, rogue, until):
    (lane,) = await opened(session, rogue(**LONG))
    for text in ("one", "two", "three"):
        session.send(text)
    await until(lambda: lane.path[0].text)
    stopping = asyncio.create_task(session.stop([lane]))
    await asyncio.sleep(0)  # the queue is stopped, and the engine has not heard of it
    assert waiting(session) == [("two", True), ("three", True)]
    assert lane.is_busy, "the answer has not ended yet"
    session.send("now")
    session.send_again(session.queue.prompts[:1])
    await stopping
    await until(lambda: len(lane.path) == 2 and lane.path[1].text)
    assert asked(lane) == ["one", "two"]
    assert waiting(session) == [("three", True), ("now", False)]
    await session.stop()
    await session.answered()
    assert waiting(session) == [("three", True), ("now", True)]


async def test_a_fast_lane_does_not_wait_for_a_slow_one(session, rogue, until):
    fast, slow = await opened(session, rogue(name="fast", max_tokens=1), rogue(name="slow", **LONG))
    session.send("one")
    session.send("two")
    session.send("three")
    await until(lambda: len(fast.path) == 3 and not fast.is_busy)
    assert asked(slow) == ["one"]
    assert [queued.lanes for queued in session.queue.prompts] == [[slow.record], [slow.record]]
    await session.stop()
    await session.answered()
    session.send_again(session.queue.kept)
    assert slow.path[-1].prompt is fast.path[1].prompt, "the lanes answer the same prompt"
    await session.close_lane(slow)
    assert waiting(session) == [("three", True)]
    session.send_again(session.queue.kept)
    await session.answered()
    assert (asked(fast)[-1], waiting(session)) == ("three", []), "it goes to the lanes that are left"


async def test_a_new_prompt_waits_for_prompts_that_other_lanes_have_begun(session, rogue, until):
    """The lanes answer in the same order, also after a stop."""
    fast, slow = await opened(session, rogue(name="fast", max_tokens=1), rogue(name="slow", **LONG))
    for text in ("one", "two", "three"):
        session.send(text)
    await until(lambda: len(fast.path) == 3 and not fast.is_busy and slow.path[0].text)
    await session.stop()
    await session.answered()
    assert waiting(session) == [("two", True), ("three", True)]
    session.send("now")
    for text in ("two", "three", "now"):
        await until(partial(lambda text: asked(slow)[-1] == text and slow.path[-1].text, text))
        await slow.stop()
        await slow.answered()
        session.send_again(session.queue.kept)
    assert asked(slow) == asked(fast) == ["one", "two", "three", "now"]


async def test_a_stopped_lane_does_not_delay_other_lanes(session, rogue, until):
    stopped, other = await opened(session, rogue(name="a", **LONG), rogue(name="b", rate=100, max_tokens=10))
    session.send("one")
    session.send("two")
    await until(lambda: stopped.path[0].text)
    await stopped.stop()
    await session.answered()
    assert (asked(stopped), asked(other)) == (["one"], ["one", "two"])
    assert waiting(session) == [("two", True)]
    assert session.queue.prompts[0].lanes == [stopped.record]


async def test_waiting_prompts_are_kept_when_the_engine_ends(session, rogue, until):
    lane, other = await opened(session, rogue("killed", name="a"), rogue(name="b", max_tokens=1))
    session.send("one", lanes=[lane])
    session.send("two", lanes=[lane])
    await until(lambda: lane.state == "crashed")
    assert waiting(session) == [("two", True)]
    session.send_again(session.queue.kept)
    assert waiting(session) == [("two", True)], "it is not for another lane"
    await session.swap(lane, rogue(max_tokens=1))
    session.send_again(session.queue.kept)
    await session.answered()
    assert (asked(lane), asked(other)) == (["one", "two"], [])
