"""Sessions whose history is locked or opened late, or that close with unsaved data."""

import asyncio

import pytest
from tests.workbench.history_file import locked
from tests.workbench.lane_helpers import answers, opened, words

from paragone import InputError
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.session import Session
from paragone_workbench.store import History, StoreError
from paragone_workbench.store import saving as queue


@pytest.fixture
async def unrecorded(check_nothing_left, history, problems):
    """A session whose history is not open yet."""
    session = Session(Registry(), on_problem=problems.append)
    yield session
    await session.close()


@pytest.fixture
async def session(unrecorded, history):
    unrecorded.recorder.open(history)
    return unrecorded


def is_saved(session: Session) -> bool:
    """Return whether nothing of the session is left to save."""
    return not any(outbox.is_due for outbox in session.recorder._outboxes.values())


async def in_history(history: History) -> dict[str, list[str]]:
    """Return the answers in the history, by the title of their conversation."""
    found = {}
    for summary in await history.call(lambda store: store.conversations()):
        saved = await history.load(summary.number)
        assert summary.title not in found
        found[summary.title] = [run.text for run in saved.runs]
    return found


async def test_runs_that_end_before_the_history_is_open_are_saved(unrecorded, rogue, history, until):
    session = unrecorded
    _, other = await opened(session, rogue(max_tokens=2), rogue("wide", max_tokens=1))
    await answers(session, "first")
    session.new_conversation()
    await answers(session, "second")
    await session.close_lane(other)
    await session.close_lane(other)
    session.new_conversation()
    session.new_conversation()  # an empty conversation is not saved
    await answers(session, "third")
    assert session.recorder.waits_for_history
    session.recorder.open(history)
    assert not session.recorder.waits_for_history
    await session.close()
    both, one = [words(2), "語0😀 "], [words(2)]
    assert await in_history(history) == {"first": both, "second": both, "third": one}
    second = next(
        it for it in await history.call(lambda store: store.conversations()) if it.title == "second"
    )
    saved = await history.load(second.number)
    assert [(lane.definition.name, lane.closed, lane.head.text) for lane in saved.lanes] == [
        ("steady", False, words(2)),
        ("wide", True, "語0😀 "),
    ]


async def test_an_unsaved_conversation_is_complete_at_the_end(unrecorded, rogue):
    await opened(unrecorded, rogue(max_tokens=1), rogue(max_tokens=2))
    await answers(unrecorded, "first")
    unrecorded.new_conversation()
    unrecorded.recorder.not_open(InputError("It is of another version."))
    await answers(unrecorded, "second")
    await answers(unrecorded, "third")
    unrecorded.new_conversation()
    await unrecorded.close()
    first, second = unrecorded.recorder.losses()
    assert [first.title, second.title] == ["first", "second"]
    assert sorted(run.text for run in first.runs) == [words(1), words(2)]
    assert [prompt.text for prompt in second.conversation.prompts] == ["second", "third"]
    assert len(second.runs) == 4
    assert len(second.lanes) == 2


async def test_parts_saved_before_a_failure_are_in_the_complete_conversation(
    session, rogue, history, monkeypatch, until
):
    monkeypatch.setattr(queue, "CLOSE_S", 0.1)
    monkeypatch.setattr(queue, "LAST_TRY_S", 0.1)
    await opened(session, rogue(max_tokens=2))
    await answers(session, "saved")
    await until(lambda: is_saved(session))
    await history.call(lambda store: store._database.run("PRAGMA max_page_count = 1"))
    await answers(session, "x" * 100_000)
    await session.close()
    (lost,) = session.recorder.losses()
    assert [prompt.text for prompt in lost.conversation.prompts] == ["saved", "x" * 100_000]
    assert [run.text for run in lost.runs] == [words(2)] * 2


async def test_a_conversation_closed_during_a_lock_is_saved_later(session, rogue, history, problems, until):
    await opened(session, rogue(max_tokens=2))
    with locked():
        await answers(session, "first")
        session.new_conversation()
        await until(lambda: session.recorder.problem is not None)
        await answers(session, "second")
        session.new_conversation()
        assert session.recorder.problem is not None, "answers of a conversation that is no longer shown"
    await until(lambda: session.recorder.problem is None)
    await until(lambda: is_saved(session))
    assert await in_history(history) == {"first": [words(2)], "second": [words(2)]}
    assert len(problems) == 1, "a lock is reported once, even if several conversations wait"


async def test_an_answer_of_a_closed_lane_is_saved_after_its_conversation_was_closed(
    session, rogue, history, until, be_impatient
):
    """Ending an engine that ignores stops takes a while; meanwhile the session begins a new conversation."""
    await opened(session, rogue(max_tokens=1), rogue("deaf"))
    session.send("hello")
    lane, deaf = session.lanes
    await until(lambda: deaf.present is not None and deaf.present.text and not lane.is_busy)
    be_impatient()
    closing = asyncio.create_task(session.close_lane(deaf))
    await asyncio.sleep(0)
    run = deaf.record.head
    assert run.phase != "ended"
    session.new_conversation()
    await closing
    assert run.phase == "ended"
    await until(lambda: is_saved(session))
    (summary,) = await history.call(lambda store: store.conversations())
    saved = (await history.load(summary.number)).runs[1]
    assert (saved.state, saved.text) == (run.state, run.text)


async def test_reopening_a_conversation_that_cannot_be_saved_changes_nothing(session, rogue, history, until):
    (lane,) = await opened(session, rogue(max_tokens=2))
    await answers(session, "first")
    await session.saved()
    conversation = session.conversation
    with locked():
        await answers(session, "second")
        await until(lambda: session.recorder.problem is not None)
        with pytest.raises(StoreError, match=r"its last changes are not saved yet.*keeps it locked"):
            await session.reopen(conversation.number)
        assert (session.conversation, len(lane.path)) == (conversation, 2)
        session.new_conversation()
        with pytest.raises(StoreError, match="its last changes are not saved yet"):
            await session.reopen(conversation.number)
    await until(lambda: session.recorder.problem is None)
    await session.reopen(conversation.number)
    assert [run.prompt.text for run in session.lanes[0].path] == ["first", "second"]


async def test_reopening_is_refused_after_a_prompt_was_sent_meanwhile(session, rogue, history):
    (lane,) = await opened(session, rogue(max_tokens=100_000))
    session.send("first")
    await session.stop()
    await session.answered()
    await session.saved()
    first = session.conversation.number
    session.new_conversation()
    present = session.conversation
    reopening = asyncio.create_task(session.reopen(first))
    await asyncio.sleep(0)
    session.send("second")
    with pytest.raises(InputError, match="an answer is being written"):
        await reopening
    assert (session.conversation, session.lanes) == (present, [lane])
    await session.stop()
    await session.answered()
    await session.close()
    assert (await in_history(history)).keys() == {"first", "second"}


async def test_a_conversation_that_was_reopened_and_left_meanwhile_is_read_again(
    session, rogue, history, until
):
    """The data that was read before is outdated, even if its recorder has finished."""
    await opened(session, rogue(max_tokens=2))
    await answers(session, "first")
    await session.saved()
    first = session.conversation.number
    session.new_conversation()
    await until(lambda: is_saved(session))
    load = history.load
    loads: list[int] = []

    async def slow(conversation_id):
        saved = await load(conversation_id)
        loads.append(conversation_id)
        if len(loads) == 1:
            await session.reopen(first)
            await answers(session, "second")
            session.new_conversation()
            await until(lambda: is_saved(session))
        return saved

    history.load = slow
    await session.reopen(first)
    assert [run.prompt.text for run in session.lanes[0].path] == ["first", "second"]
