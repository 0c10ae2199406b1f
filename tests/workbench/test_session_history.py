"""A session's conversation in the history: saved during runs, and loaded again."""

from dataclasses import dataclass

import pytest
from rogue_backend.options import RogueLoad
from rogue_backend.plugin import RogueBackend
from tests.workbench.history_file import rows
from tests.workbench.lane_helpers import LONG, answers, opened, words

from paragone import Image, InputError, option
from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.engines.registry import Registry
from paragone_workbench.lanes.session import Session
from paragone_workbench.lanes.variants import find_in_lanes, find_run
from paragone_workbench.paths import history_file
from paragone_workbench.runs.context import path_to


@pytest.fixture
async def session(check_nothing_left, history, problems):
    session = Session(Registry(), system="Be brief.", on_problem=problems.append)
    session.recorder.open(history)
    yield session
    await session.close()


RUNS = "SELECT engine, state, text FROM run ORDER BY number"


async def saved(session, history):
    """Return the current state of the conversation in the history."""
    await session.saved()
    return await history.load(session.conversation.number)


def path_of(lane):
    """Return the runs that a loaded lane shows."""
    return path_to(lane.head)


async def test_the_final_state_of_each_run_is_saved(session, rogue, history, until):
    lanes = await opened(
        session,
        *(rogue(max_tokens=2), rogue("killed", rate=40), rogue("raises"), rogue(max_tokens=10**6, rate=50)),
    )
    unable = session.add_lane(rogue("nonsense"))
    session.open_engines()
    session.send("hello")  # the last lane's engine fails with the prompt waiting for it
    (prompt,) = session.prompts
    await until(lambda: lanes[3].answer(prompt).text and not unable.is_busy and not lanes[1].is_busy)
    await session.stop()
    await session.answered()
    runs = [lane.head for lane in (await saved(session, history)).lanes]
    assert [run.state for run in runs] == ["done", "failed", "failed", "stopped", "failed"]
    assert [run.result.finish for run in runs] == ["length", None, None, "cancelled", None]
    assert [run.text for run in runs] == [words(2), words(5), words(5), lanes[3].answer(prompt).text, ""]
    assert str(runs[1].error).startswith("The engine's process was ended by SIGKILL")
    assert str(runs[2].error) == "The engine failed: RuntimeError: the kernel image is unhappy."
    assert str(runs[4].error).startswith("There is no model 'nonsense'.")


async def test_variants_and_the_selected_path_are_saved(session, rogue, history):
    (lane,) = await opened(session, rogue(max_tokens=1))
    await answers(session, "hello")
    first = lane.record.head
    await session.swap(lane, rogue("wide", max_tokens=1))
    session.regenerate(lane)
    await session.answered()
    (kept,) = (await saved(session, history)).lanes
    assert rows(RUNS) == [("steady", "done", "word0 "), ("wide", "done", "語0😀 ")]
    assert [run.text for run in path_of(kept)] == ["語0😀 "], "the selected variant"
    assert [run.text for run in kept.runs] == [run.text for run in lane.record.runs] == ["word0 ", "語0😀 "]
    assert kept.definition == lane.engine.definition
    session.select(lane, first)
    await answers(session, "go on")
    assert [run.continues for run in lane.path] == [None, first]
    (kept,) = (await saved(session, history)).lanes
    assert [run.prompt.text for run in path_of(kept)] == ["hello", "go on"]
    assert (path_of(kept)[0].id, len(kept.runs)) == (first.id, 3)


async def test_the_queue_and_a_fork_are_restored(session, rogue, history, until, problems):
    (lane,) = await opened(session, rogue(max_tokens=1))
    await answers(session, "one")
    forked = session.add_lane(lane.engine.definition, fork=lane.path[0])
    session.open_engines()
    await forked.engine.opened()
    await session.configure(lane, rogue(**LONG))
    image = Image(name="sea.png", media_type="image/png", data="c2Vh")
    session.send("two")
    session.send("three", [image], lanes=[forked])
    session.send("four", [image])
    await until(lambda: not forked.is_busy and lane.path[-1].text)
    assert [queued.text for queued in session.queue.prompts] == ["four"]
    session.regenerate(forked, session.prompts[0])
    await session.stop()
    await session.answered()
    await session.saved()
    number = session.conversation.number
    session.new_conversation()
    assert session.queue.prompts == []
    await session.reopen(number)
    (queued,) = session.queue.prompts
    assert (queued.text, queued.images, queued.is_kept) == ("four", (image,), True)
    assert (queued.prompt, [other.position for other in queued.lanes]) == (session.prompts[-1], [0])
    again = session.lanes[1]
    assert session.show_variant(again, 1, again.path[0]), "the answer before the fork is a variant"
    assert again.path[0] is session.lanes[0].path[0]
    before = await saved(session, history)
    history_file().unlink()
    session.recorder.lane_changed(session.conversation, again.record)
    await until(lambda: problems and session.recorder.problem is None)
    anew = await saved(session, history)
    assert [it.text for it in anew.queue] == ["four"], "it is in the new file"
    assert [(lane.id, lane.head.id, len(lane.runs), lane.fork and lane.fork.id) for lane in anew.lanes] == [
        (lane.id, lane.head.id, len(lane.runs), lane.fork and lane.fork.id) for lane in before.lanes
    ]
    session.queue.remove(queued)
    assert (await saved(session, history)).queue == ()


async def test_lanes_keep_their_order(session, rogue, history):
    lanes = await opened(session, *(rogue(name=name, max_tokens=1) for name in "abc"))
    await answers(session, "hello")
    await session.close_lane(lanes[0])
    await session.close_lane(lanes[1])
    session.add_lane(rogue(name="d"))
    await session.saved()
    await session.reopen(session.conversation.number)
    assert [lane.engine.definition.name for lane in session.lanes] == ["c", "d"]


async def test_closing_the_session_during_an_answer_is_saved_as_a_stop(session, rogue, until):
    await opened(session, rogue(max_tokens=10**6, rate=50))
    session.send("hello")
    run = session.lanes[0].answer(session.prompts[0])
    await until(lambda: run.text)
    await session.close()
    assert rows(RUNS) == [("steady", "stopped", run.text)]


async def test_reopening_restores_everything_and_keeps_equal_engines(
    session, rogue, history, workers, record_events
):
    same, swapped = await opened(session, rogue(max_tokens=2), rogue("killed", rate=40))
    await answers(session, "first")
    await session.swap(swapped, rogue("wide", max_tokens=1))
    await swapped.engine.opened()
    await answers(session, "second")
    await session.saved()
    old, texts = session.conversation.number, [[run.text for run in lane.path] for lane in session.lanes]
    session.system_prompt.change("Something else.")
    session.new_conversation()
    await session.swap(swapped, rogue("escapes", max_tokens=1))
    await swapped.engine.opened()
    await answers(session, "meanwhile")
    pids = {worker.pid for worker in workers()}

    assert await session.reopen(old) == (0, None)
    first, second = session.lanes
    assert first is same
    assert second is not swapped
    assert session.conversation.number == old
    assert [prompt.text for prompt in session.prompts] == ["first", "second"]
    assert [[run.text for run in lane.path] for lane in session.lanes] == texts
    failed = second.answer(session.prompts[0])
    assert (failed.state, failed.result.definition.name) == ("failed", "killed")
    assert str(failed.error).startswith("The engine's process was ended by SIGKILL")
    assert [lane.state for lane in session.lanes] == ["ready", "empty"]
    assert swapped.state == "empty"
    assert len(pids & {worker.pid for worker in workers()}) == len(workers()) == 1, (
        "the engine that is no longer needed is closed"
    )

    session.open_engines()
    await second.engine.opened()
    events = record_events(first)
    await answers(session, "third")
    assert events.others == ["prompted third", "started third", "ended done"]
    last = session.prompts[-1]
    assert [message.text for message in second.answer(last).spec.messages] == [
        *("Be brief.", "first", words(5), "second", "語0😀 ", "third"),
    ]
    found = await saved(session, history)
    assert [prompt.text for prompt in found.conversation.prompts] == ["first", "second", "third"]
    assert [path_of(lane)[2].text for lane in found.lanes] == [words(2), "語0😀 "]


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyedLoad(RogueLoad):
    key: str | None = option(None, "A key.", secret=True)


class Keyed(RogueBackend):
    """The rogue backend with a secret option."""

    load_options = KeyedLoad


async def test_secrets_are_not_saved_and_are_restored_from_the_config(
    check_nothing_left, rogue, history, monkeypatch
):
    registry = Registry()
    monkeypatch.setitem(registry._found, "rogue", Keyed())
    configured = rogue(
        "steady", "mine", key="s3cret"
    )  # the worker does not know this option, so it fails to open
    session = Session(registry, engines={"mine": configured})
    session.recorder.open(history)
    session.add_lane(configured)
    session.open_engines()
    session.send("hello")
    await session.answered()
    await session.saved()
    files = [path.read_bytes() for path in history_file().parent.glob("history.db*") if path.is_file()]
    assert any(b"mine" in content for content in files)
    assert not any(b"s3cret" in content for content in files)
    await session.close()
    again = Session(registry, engines={"mine": configured})
    again.recorder.open(history)
    await again.reopen(session.conversation.number)
    assert again.lanes[0].engine.definition == configured
    again.new_conversation()
    await again.configure(again.lanes[0], rogue("steady", "mine", key="s3cret", max_tokens=3))
    await again.reopen(session.conversation.number, only_with_same_engines=True)
    assert again.lanes[0].engine.definition == configured
    await again.close()
    other = Session(registry, engines={"mine": rogue("wide", "mine", key="another")})
    other.recorder.open(history)
    await other.reopen(session.conversation.number)
    assert "key" not in other.lanes[0].engine.definition.options, "it is for another model"
    await other.close()


async def test_an_earlier_conversation_is_deleted_once_its_changes_are_saved(session, rogue, history):
    await opened(session, rogue(max_tokens=2))
    await answers(session, "Forget me.")
    await saved(session, history)
    earlier = session.conversation.number
    await answers(session, "And this.")
    session.new_conversation()
    await session.recorder.delete(earlier)
    assert await history.call(lambda store: store.conversations()) == ()
    with pytest.raises(InputError, match="was deleted"):
        await session.reopen(earlier)


async def test_a_closed_lane_with_a_search_hit_is_shown_again(session, rogue, history):
    await opened(session, rogue(max_tokens=1), rogue("wide", name="other", max_tokens=1))
    await answers(session, "Go")
    second = session.lanes[1]
    answer = second.path[0]
    await session.close_lane(second)
    await saved(session, history)
    number = session.conversation.number
    (hit,) = await history.call(lambda store: store.search(answer.text.strip()))
    assert hit.run_id == answer.id
    session.new_conversation()
    assert await session.reopen(number) == (1, None)
    session.new_conversation()
    reopened = await session.reopen(number, hit=hit)
    assert reopened == (0, session.lanes[1])
    assert find_run(session.lanes, hit.prompt_id, hit.run_id)[0] is session.lanes[1]
    await saved(session, history)
    assert not any(lane.closed for lane in (await history.load(number)).lanes)


@pytest.mark.parametrize("later", [{"max_tokens": 7}, {"max_tokens": 1, "context": 99}], ids=["run", "load"])
async def test_a_resumed_conversation_has_its_options_and_names(session, rogue, history, later):
    await opened(session, rogue(max_tokens=1), rogue("wide", name="other", **later))
    await answers(session, "Go on")
    await saved(session, history)
    session.new_conversation()
    first, second = session.lanes
    await session.configure(first, rogue(**later))
    await session.configure(second, rogue("wide", name="other", max_tokens=1))
    await session.opened()
    engines = [lane.engine._opened for lane in session.lanes]
    number = (await history.call(lambda store: store.last_open())).number
    assert await session.reopen(number, only_with_same_engines=True) == (0, None)
    session.open_engines()
    await session.opened()
    definitions = [lane.engine.definition for lane in session.lanes]
    assert definitions == [rogue(max_tokens=1), rogue("wide", name="other", **later)]
    assert [lane.name for lane in session.lanes] == ["steady", "other"]
    assert all(lane.is_reopened and lane.first_definition == lane.engine.definition for lane in session.lanes)
    are_loaded_again = [lane.engine._opened not in engines for lane in session.lanes]
    assert are_loaded_again == ["context" in later] * 2
    assert [len(answer.split()) for answer in await answers(session, "More")] == [1, later["max_tokens"]]


async def test_two_configured_engines_with_the_same_model_are_different_engines(rogue, history):
    brief, long = rogue(name="brief", max_tokens=1), rogue(name="long", max_tokens=2)
    session = Session(Registry(), engines={"brief": brief, "long": long})
    session.recorder.open(history)
    (lane,) = await opened(session, brief)
    await answers(session, "Go on")
    await saved(session, history)
    number = session.conversation.number
    session.new_conversation()
    await session.configure(lane, long)
    assert await session.reopen(number, only_with_same_engines=True) is None
    await session.close()


async def test_a_reused_lane_takes_the_name_in_the_conversation(session, rogue, history):
    lane, other = await opened(session, rogue(name="small", max_tokens=1), rogue("wide", name="wide"))
    await answers(session, "Go on")
    await saved(session, history)
    session.new_conversation()
    await session.configure(lane, rogue(name="steady", max_tokens=1))
    engine = lane.engine._opened
    number = (await history.call(lambda store: store.last_open())).number
    assert await session.reopen(number, only_with_same_engines=True) == (0, None)
    assert session.lanes == [lane, other]
    assert (lane.name, lane.engine.definition.name, lane.engine._opened) == ("small", "small", engine)
    assert [run.prompt.text for run in lane.path] == ["Go on"]


async def test_words_are_found_in_the_open_conversation(session, rogue):
    await opened(session, rogue(max_tokens=2), rogue("wide", name="other", max_tokens=2))
    await answers(session, "Name a zebra, or WORD0")
    first, second = session.lanes
    assert session.regenerate(first) is not None
    await session.answered()
    found = find_in_lanes(session.lanes, "word0")
    assert [hit.engine for hit in found] == ["steady", "steady", ""], "variants, and the prompt once"
    assert found[0].run_id == first.path[0].id
    assert [found[0].snippet[start:end] for start, end in found[0].marks] == ["word0"]
    assert [hit.run_id for hit in find_in_lanes(session.lanes, "zebra name")] == [None]
    assert find_in_lanes(session.lanes, "zebra word1") == find_in_lanes(session.lanes, "  ") == []
    assert second.path[0].text.split()[0] in find_in_lanes(session.lanes, "語")[0].snippet


async def test_a_prompt_that_no_lane_has_begun_is_kept(session, rogue, history):
    """The program was killed after it had taken the prompt from the queue, and before it had saved the run."""
    await opened(session, rogue(max_tokens=1))
    await answers(session, "one")
    await session.saved()
    lost = Prompt(text="two", parent=session.prompts[0])
    session.recorder.prompt_added(session.conversation, session.conversation.add(lost))
    await session.saved()
    number = session.conversation.number
    session.new_conversation()
    await session.reopen(number)
    (queued,) = session.queue.prompts
    assert (queued.text, queued.is_kept, queued.lanes) == (
        "two",
        True,
        [lane.record for lane in session.lanes],
    )
