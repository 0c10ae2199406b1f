"""The conversation on disk while it happens, and what comes back of it."""

import asyncio
import contextlib
import sqlite3

import pytest
from tests.workbench.talk import answers, opened, words

from paragone import InputError
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.session import Session
from paragone_workbench.paths import history_file
from paragone_workbench.store import Store, StoreError


@pytest.fixture
def problems() -> list[StoreError]:
    return []


@pytest.fixture
def store():
    store = Store.open()
    yield store
    store.close()


@pytest.fixture
async def session(tidy, store, problems):
    session = Session(Registry(), system="Be brief.", on_problem=problems.append)
    session.record(store)
    yield session
    await session.close()


def rows(sql: str) -> list[tuple]:
    """Ask the file itself, as another program would."""
    with contextlib.closing(sqlite3.connect(history_file())) as connection:
        return connection.execute(sql).fetchall()


RUNS = "SELECT engine, state, text FROM run ORDER BY id"


# ── While it happens ───────────────────────────────────────────────────────────────────────────


async def test_nothing_is_saved_before_there_is_a_prompt(session, rogue, store):
    await opened(session, rogue(), rogue())
    assert session.conversation is None
    assert rows("SELECT * FROM conversation") == rows("SELECT * FROM lane") == []
    assert store.conversations() == ()


async def test_a_conversation_is_saved_as_it_was(session, rogue, store):
    await opened(session, rogue(max_tokens=2), rogue("wide", name="other", max_tokens=1))
    await answers(session, "First?\nMore")
    await answers(session, "Second?")
    saved = store.load(session.conversation)
    assert (saved.title, saved.system) == ("First?", "Be brief.")
    assert [prompt.text for prompt in saved.prompts] == ["First?\nMore", "Second?"]
    assert [prompt.parent_id for prompt in saved.prompts] == [None, saved.prompts[0].id]
    assert [prompt.saved for prompt in session.prompts] == [prompt.id for prompt in saved.prompts]
    assert [lane.definition for lane in saved.lanes] == [lane.definition for lane in session.lanes]
    for lane, saved_lane in zip(session.lanes, saved.lanes, strict=True):
        for run, turn in zip(lane.runs.values(), saved_lane.turns, strict=True):
            assert (turn.run.text, turn.run.state, turn.run.finish) == (run.text, run.state, run.finish)
            assert (turn.run.metrics, turn.run.manifest) == (run.metrics, run.manifest)
            assert (turn.run.engine, turn.run.backend) == (lane.definition.name, "rogue")


@pytest.mark.alone
async def test_text_is_on_disk_within_a_second(session, rogue):
    await opened(session, *(rogue(max_tokens=10**6, rate=50) for _ in range(2)))
    session.send("go on")
    runs = [lane.runs[session.prompts[0]] for lane in session.lanes]
    for _ in range(3):
        while not all(run.text for run in runs):
            await asyncio.sleep(0.01)
        then = [run.text for run in runs]
        await asyncio.sleep(1)
        pieces = "SELECT group_concat(text, '') FROM (SELECT * FROM piece ORDER BY id) GROUP BY run_id"
        on_disk = [text for (text,) in rows(pieces)]
        for before, saved, run in zip(then, on_disk, runs, strict=True):
            assert saved.startswith(before)
            assert run.text.startswith(saved)
    await session.stop()
    await session.answered()
    assert rows(RUNS) == [("steady", "stopped", run.text) for run in runs]
    assert rows("SELECT * FROM piece") == []


async def test_how_runs_end_is_saved(session, rogue, store, until):
    lanes = await opened(
        session,
        *(rogue(max_tokens=2), rogue("killed", rate=40), rogue("raises"), rogue(max_tokens=10**6, rate=50)),
    )
    unable = session.add_lane(rogue("nonsense"))
    session.open_engines()
    session.send("hello")  # the last lane's engine fails with the prompt waiting for it
    (prompt,) = session.prompts
    await until(lambda: lanes[3].runs[prompt].text and not unable.is_busy and not lanes[1].is_busy)
    await session.stop()
    await session.answered()
    saved = [lane.turns[0].run for lane in store.load(session.conversation).lanes]
    assert [run.state for run in saved] == ["done", "failed", "failed", "stopped", "failed"]
    assert [run.finish for run in saved] == ["length", None, None, "cancelled", None]
    assert [run.text for run in saved] == [words(2), words(5), words(5), lanes[3].runs[prompt].text, ""]
    assert saved[1].error.startswith("The engine's process was ended by SIGKILL")
    assert saved[2].error == "The engine failed: RuntimeError: the kernel image is unhappy."
    assert saved[4].error.startswith("There is no model 'nonsense'.")


async def test_regenerate_keeps_both_runs(session, rogue, store):
    (lane,) = await opened(session, rogue(max_tokens=1))
    await answers(session, "hello")
    await session.swap(lane, rogue("wide", max_tokens=1))
    session.regenerate(lane)
    await session.answered()
    assert rows(RUNS) == [("steady", "done", "word0 "), ("wide", "done", "語0😀 ")]
    (saved,) = store.load(session.conversation).lanes
    assert [turn.run.text for turn in saved.turns] == ["語0😀 "], "the latest is shown"
    assert saved.definition == lane.definition


async def test_a_lane_that_is_closed_in_mid_answer(session, rogue, store, until):
    lane, _ = await opened(session, rogue(max_tokens=10**6, rate=50), rogue(max_tokens=1))
    session.send("hello")
    run = lane.runs[session.prompts[0]]
    await until(lambda: run.text)
    await session.close_lane(lane)
    saved, kept = store.load(session.conversation).lanes
    assert (saved.closed, kept.closed) == (True, False)
    assert (saved.turns[0].run.state, saved.turns[0].run.text) == ("stopped", run.text)


async def test_lanes_keep_their_order(session, rogue, store):
    lanes = await opened(session, *(rogue(name=name, max_tokens=1) for name in "abc"))
    await answers(session, "hello")
    await session.close_lane(lanes[0])
    await session.close_lane(lanes[1])
    session.add_lane(rogue(name="d"))
    await session.reopen(session.conversation)
    assert [lane.definition.name for lane in session.lanes] == ["c", "d"]
    session.add_lane(rogue(name="e"))
    await session.reopen(session.conversation)
    assert [lane.definition.name for lane in session.lanes] == ["c", "d", "e"]


async def test_an_end_in_mid_answer_is_saved_as_a_stop(session, rogue, until):
    await opened(session, rogue(max_tokens=10**6, rate=50))
    session.send("hello")
    run = session.lanes[0].runs[session.prompts[0]]
    await until(lambda: run.text)
    await session.close()
    assert rows(RUNS) == [("steady", "stopped", run.text)]


# ── A store that fails ─────────────────────────────────────────────────────────────────────────


def forbid_writing(store: Store, forbidden: bool) -> None:
    """Have SQLite refuse to write, as it does when the disk is full."""
    store._database.run(f"PRAGMA query_only = {int(forbidden)}")


async def test_a_store_that_fails_is_told_of_once_and_the_session_goes_on(
    session, rogue, store, problems, until
):
    lanes = await opened(session, *(rogue(max_tokens=60, rate=50) for _ in range(2)))
    session.send("hello")
    runs = [lane.runs[session.prompts[0]] for lane in lanes]
    await until(lambda: all(run.text for run in runs))
    forbid_writing(store, True)
    await session.answered()
    assert [run.text for run in runs] == [words(60)] * 2
    assert len(problems) == 1
    assert (
        problems[0].sentence == f"The history in {history_file()} cannot be used: it may not be written to."
    )
    await answers(session, "again")
    assert [lane.runs[session.prompts[1]].text for lane in lanes] == [words(60)] * 2
    await session.swap(lanes[0], rogue(max_tokens=1))
    await session.close_lane(lanes[1])
    session.add_lane(rogue())
    assert len(problems) == 1


async def test_a_store_that_works_again_goes_on_with_the_next_prompt(session, rogue, store, problems):
    await opened(session, rogue(max_tokens=1))
    forbid_writing(store, True)
    await answers(session, "lost")
    assert len(problems) == 1
    assert session.conversation is None
    forbid_writing(store, False)
    await opened(session, rogue("wide", max_tokens=1))
    await answers(session, "kept")
    saved = store.load(session.conversation)
    assert [prompt.text for prompt in saved.prompts] == ["kept"]
    assert [lane.turns[0].run.text for lane in saved.lanes] == ["word0 ", "語0😀 "]
    assert len(problems) == 1
    forbid_writing(store, True)
    await answers(session, "lost again")
    assert len(problems) == 2, "that is another failure"


async def test_a_conversation_that_another_program_deleted(session, rogue, store, problems):
    await opened(session, rogue(max_tokens=1))
    await answers(session, "hello")
    store.delete_conversation(session.conversation)
    await answers(session, "still there?")
    assert "what this belongs to is gone" in problems[0].sentence
    session.new_conversation()
    await answers(session, "anew")
    assert len(problems) == 1
    assert rows(RUNS) == [("steady", "done", "word0 ")]


# ── Coming back ────────────────────────────────────────────────────────────────────────────────


async def test_a_new_conversation_is_another_one(session, rogue, store):
    await opened(session, rogue(max_tokens=1))
    await answers(session, "old")
    old = session.conversation
    session.new_conversation()
    assert session.conversation is None
    await answers(session, "new")
    assert session.conversation != old
    titles = {summary.id: summary.title for summary in store.conversations()}
    assert titles == {old: "old", session.conversation: "new"}
    assert [prompt.parent_id for prompt in store.load(session.conversation).prompts] == [None]


async def test_reopening_brings_all_back_and_keeps_equal_engines(session, rogue, store, workers, told):
    same, swapped = await opened(session, rogue(max_tokens=2), rogue("killed", rate=40))
    await answers(session, "first")
    await session.swap(swapped, rogue("wide", max_tokens=1))
    await swapped.opened()
    await answers(session, "second")
    old, before = session.conversation, session.prompts[:]
    texts = [[run.text for run in lane.runs.values()] for lane in session.lanes]

    session.system = "Something else."
    session.new_conversation()
    await session.swap(swapped, rogue("escapes", max_tokens=1))
    await swapped.opened()
    await answers(session, "meanwhile")
    pids = {worker.pid for worker in workers()}

    await session.reopen(old)
    first, second = session.lanes
    assert first is same
    assert second is not swapped
    assert session.conversation == old
    assert session.system == "Be brief."
    assert [prompt.text for prompt in session.prompts] == ["first", "second"]
    assert [prompt.saved for prompt in session.prompts] == [prompt.saved for prompt in before]
    assert [[run.text for run in lane.runs.values()] for lane in session.lanes] == texts
    failed = second.runs[session.prompts[0]]
    assert (failed.state, failed.engine) == ("failed", "killed")
    assert failed.error.sentence.startswith("The engine's process was ended by SIGKILL")
    assert [lane.state for lane in session.lanes] == ["ready", "empty"]
    assert swapped.state == "empty"
    assert len(pids & {worker.pid for worker in workers()}) == len(workers()) == 1, (
        "the other engine is freed"
    )

    session.open_engines()
    await second.opened()
    heard = told(first)
    await answers(session, "third")
    assert heard.said == ["prompted third", "started third", "ended done"]
    last = session.prompts[-1]
    assert [message.text for message in session.messages(second, last)] == [
        *("Be brief.", "first", words(5), "second", "語0😀 ", "third"),
    ]
    saved = store.load(old)
    assert [prompt.text for prompt in saved.prompts] == ["first", "second", "third"]
    assert [lane.turns[2].run.text for lane in saved.lanes] == [words(2), "語0😀 "]
    assert len(saved.lanes) == 2


async def test_reopening_in_another_program(session, rogue, store):
    await opened(session, rogue(max_tokens=2), rogue(max_tokens=2))
    await answers(session, "hello")
    await session.close()
    again = Session(Registry())
    again.record(store)
    assert again.lanes == []
    await again.reopen(session.conversation)
    assert [lane.definition for lane in again.lanes] == [rogue(max_tokens=2)] * 2
    assert [run.text for lane in again.lanes for run in lane.runs.values()] == [words(2)] * 2
    again.open_engines()
    await answers(again, "go on")
    assert [lane.runs[again.prompts[-1]].metrics.prompt_tokens for lane in again.lanes] == [11, 11]
    await again.close()


async def test_a_run_that_another_program_still_has(session, rogue, store, until):
    await opened(session, rogue(max_tokens=10**6, rate=50))
    session.send("hello")
    (run,) = session.lanes[0].runs.values()
    await until(lambda: rows("SELECT * FROM piece"))
    with contextlib.closing(Store.open()) as another:
        reader = Session(Registry())
        reader.record(another)
        await reader.reopen(session.conversation)
        (seen,) = reader.lanes[0].runs.values()
    assert (run.state, seen.state) == ("running", "interrupted")
    assert seen.text
    assert run.text.startswith(seen.text)


async def test_a_conversation_that_is_gone_changes_nothing(session, rogue):
    (lane,) = await opened(session, rogue(max_tokens=1))
    await answers(session, "hello")
    with pytest.raises(InputError, match="no longer there"):
        await session.reopen(10**6)
    assert session.lanes == [lane]
    assert [prompt.text for prompt in session.prompts] == ["hello"]
    await answers(session, "still here")
    assert len(rows(RUNS)) == 2
