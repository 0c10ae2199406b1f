"""The queue: prompts wait for busy lanes; a stop keeps them; they can be edited, removed and sent again."""

import asyncio
from functools import partial

from tests.workbench.lane_helpers import LONG, opened, words


def waiting(session):
    return [(queued.text, queued.is_kept) for queued in session.queue.prompts]


def asked(lane):
    return [run.prompt.text for run in lane.path]


async def test_prompts_are_answered_one_after_the_other(session, rogue, record_events):
    (lane,) = await opened(session, rogue(max_tokens=2))
    events = record_events(lane)
    for text in ("one", "two", "three"):
        session.send(text)
    assert (waiting(session), len(session.prompts)) == ([("two", False), ("three", False)], 1)
    assert session.queue.waiting(lane) == 2
    await session.answered()
    assert [event for event in events.others if not event.startswith("started")] == [
        *("prompted one", "ended done"),
        *("prompted two", "ended done"),
        *("prompted three", "ended done"),
    ]
    assert [message.text for message in lane.path[-1].spec.messages] == [
        *("one", words(2), "two", words(2), "three")
    ]
    assert [prompt.parent for prompt in session.prompts] == [None, *session.prompts[:2]]


async def test_a_stop_keeps_the_queue(session, rogue, until):
    (lane,) = await opened(session, rogue(**LONG))
    for text in ("one", "two", "three", "four"):
        session.send(text)
    await until(lambda: lane.path[0].text)
    await session.stop()
    await session.answered()
    assert waiting(session) == [("two", True), ("three", True), ("four", True)]
    assert (asked(lane), len(session.prompts)) == (["one"], 1), "no empty turns"
    two, three, _ = session.queue.prompts
    session.queue.remove(two)
    session.queue.edit(three, "three, edited", (), ())
    session.send("now")
    assert asked(lane) == ["one", "now"], "what is kept does not hold up a new prompt"
    session.send_again([three])
    await until(lambda: lane.path[-1].text)
    await lane.stop()
    await session.answered()
    assert waiting(session) == [("three, edited", True), ("four", True)]
    session.send_again(session.queue.kept)
    await until(lambda: lane.path[-1].text)
    assert (asked(lane), waiting(session)) == (["one", "now", "three, edited"], [("four", False)])


async def test_what_is_sent_after_a_stop_follows_the_answer_that_is_being_stopped(session, rogue, until):
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


async def test_a_new_prompt_waits_for_those_that_other_lanes_have_begun(session, rogue, until):
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


async def test_a_lane_that_is_stopped_holds_up_no_other(session, rogue, until):
    stopped, other = await opened(session, rogue(name="a", **LONG), rogue(name="b", rate=100, max_tokens=10))
    session.send("one")
    session.send("two")
    await until(lambda: stopped.path[0].text)
    await stopped.stop()
    await session.answered()
    assert (asked(stopped), asked(other)) == (["one"], ["one", "two"])
    assert waiting(session) == [("two", True)]
    assert session.queue.prompts[0].lanes == [stopped.record]


async def test_prompts_are_kept_when_the_engine_goes(session, rogue, until):
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
