"""Saving a conversation during its runs. The tests simulate the runs, without lanes and engines."""

import asyncio
import contextlib
import time

import pytest
from tests.workbench.conversation_writer import LARGE, SMOL, ConversationWriter, change_result, facts
from tests.workbench.history_file import locked, open_store, rows, slow

from paragone import Caution, Channel, ParagoneError, RunSettings, Token
from paragone.wire import to_json
from paragone_workbench.conversation.tree import Conversation, Prompt
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.paths import history_file
from paragone_workbench.runs.run import Run
from paragone_workbench.store import History, LaneRecord
from paragone_workbench.store import saving as queue
from paragone_workbench.store.errors import ConversationDeleted, StoreError
from paragone_workbench.store.saving import Recorder


class RecordedConversation:
    """A conversation with a recorder. Its methods simulate a session and its runs."""

    def __init__(self, history: History, conversation: Conversation | None = None) -> None:
        self.problems: list[StoreError] = []
        self.saved_again = 0
        self.conversation = conversation or Conversation()
        self.recorder = Recorder(on_problem=self.problems.append, on_saved_again=self.on_saved_again)
        self.recorder.open(history)

    def on_saved_again(self) -> None:
        self.saved_again += 1

    def lane(self, definition: EngineDefinition = SMOL, position: int = 0) -> LaneRecord:
        lane = LaneRecord(definition=definition, position=position)
        self.recorder.lane_changed(self.conversation, lane)
        return lane

    def prompt(self, text: str, parent: Prompt | None = None, **fields) -> Prompt:
        prompt = self.conversation.add(Prompt(text=text, parent=parent, **fields))
        self.recorder.prompt_added(self.conversation, prompt)
        return prompt

    def wait(self, prompt: Prompt, lane: LaneRecord) -> Run:
        """Add a run to a lane that waits for its engine."""
        run = Run.of(lane.definition, prompt=prompt, continues=lane.head)
        lane.head = run
        lane.runs.append(run)
        self.recorder.follow(self.conversation, run, lane)
        return run

    async def saved(self) -> bool:
        """Wait for a save of the changes so far. Return whether it succeeded."""
        return await self.recorder.saved(self.conversation) is None

    def start(self, prompt: Prompt, lane: LaneRecord) -> Run:
        return began(self.wait(prompt, lane))


def began(run: Run) -> Run:
    run.phase = "prefill"
    change_result(run, manifest={"engine": to_json(run.result.definition)})
    run.changed()
    return run


def write(run: Run, text: str, channel: Channel = "answer") -> None:
    run.take(Token(text=text, channel=channel, time=0.0))


def end(run: Run, state="done", **fields) -> Run:
    run.phase = "ended"
    change_result(run, state=state, ended=time.time(), **fields)
    run.changed()
    return run


@pytest.fixture
async def recorded(history):
    recorded = RecordedConversation(history)
    yield recorded
    await recorded.recorder.close()


async def pragma(history: History, sql: str) -> int | None:
    """Execute a pragma on the history's own connection."""
    found = await history.call(lambda store: store._database.rows(f"PRAGMA {sql}"))
    return found[0][0] if found else None


RUNS = "SELECT engine, state, text FROM run ORDER BY number"


async def test_a_conversation_without_prompts_is_not_saved(recorded, history):
    recorded.lane(SMOL)
    away = recorded.lane(LARGE, 1)
    away.closed = True
    recorded.recorder.lane_changed(recorded.conversation, away)
    assert await recorded.saved()
    assert recorded.conversation.number is None
    assert rows("SELECT * FROM conversation") == rows("SELECT * FROM lane") == []
    recorded.prompt("hello")
    assert await recorded.saved()
    assert rows("SELECT json_extract(definition, '$.name') FROM lane") == [("smol",)], (
        "the lane that was closed before the first prompt is not saved"
    )


async def test_a_prompt_and_the_end_of_a_run_are_saved_immediately(recorded, monkeypatch):
    monkeypatch.setattr(queue, "EVERY_S", 3600)
    lane = recorded.lane()
    prompt = recorded.prompt("hello")
    while not rows("SELECT 1 FROM prompt"):
        await asyncio.sleep(0.01)
    run = recorded.start(prompt, lane)
    write(run, "hi")
    end(run)
    while rows(RUNS) != [("smol", "done", "hi")]:
        await asyncio.sleep(0.01)
    assert rows("SELECT * FROM piece") == []


async def test_settings_and_cautions_are_saved_during_the_run(recorded, history):
    run = recorded.start(recorded.prompt("x"), recorded.lane())
    assert await recorded.saved()
    change_result(run, settings=RunSettings(seed=7))
    run.changed()
    caution = Caution(code="turns-dropped", sentence="Some.")
    run.take(caution)
    write(run, "so far")
    assert await recorded.saved()
    (saved,) = (await history.load(recorded.conversation.number)).runs
    assert (saved.settings, saved.result.cautions, saved.text) == (RunSettings(seed=7), (caution,), "so far")
    assert (saved.state, rows(RUNS)) == ("interrupted", [("smol", "running", "")])
    end(run)


async def test_a_run_that_never_began_is_saved_if_it_failed(recorded, history):
    lane, other = recorded.lane(), recorded.lane(LARGE, 1)
    first = recorded.prompt("first")
    kept = end(recorded.start(first, lane))
    second = recorded.prompt("second", first)
    stopped = end(recorded.wait(second, lane), "stopped", finish="cancelled")
    end(recorded.wait(second, other), "failed", error=ParagoneError("There is no such model."))
    assert await recorded.saved()
    assert stopped.number is None
    saved = await history.load(recorded.conversation.number)
    assert facts(saved.lanes[0].head) == facts(kept), "the run that was stopped before it began is not saved"
    assert [run.state for run in saved.runs] == ["done", "failed"]
    assert str(saved.lanes[1].head.error) == "There is no such model."
    later = end(recorded.start(second, lane))
    assert later.continues is stopped
    assert await recorded.saved()
    head = (await history.load(recorded.conversation.number)).lanes[0].head
    assert (head.id, head.continues.id) == (later.id, kept.id)


async def test_a_lane_keeps_its_head_until_its_new_run_begins(recorded, history):
    lane = recorded.lane()
    prompt = recorded.prompt("x")
    first = end(recorded.start(prompt, lane))
    lane.head = None  # as when it regenerates
    run = recorded.wait(prompt, lane)
    assert await recorded.saved()
    assert facts((await history.load(recorded.conversation.number)).lanes[0].head) == facts(first)
    began(run)
    assert await recorded.saved()
    assert (await history.load(recorded.conversation.number)).lanes[0].head.id == run.id
    end(run)
    lane.head, lane.definition = first, LARGE
    recorded.recorder.lane_changed(recorded.conversation, lane)
    assert await recorded.saved()
    (saved,) = (await history.load(recorded.conversation.number)).lanes
    assert (saved.head.id, saved.definition, len(saved.runs)) == (first.id, LARGE, 2)


async def is_saving(history: History, until) -> None:
    """Wait until a batch is queued in a slow history."""
    await until(lambda: history._jobs.qsize())


async def test_a_run_that_starts_during_a_save_is_saved_before_closing(recorded, history, until):
    lane = recorded.lane()
    prompt = recorded.prompt("x")
    async with slow(history):
        await is_saving(history, until)
        run = recorded.start(prompt, lane)
        write(run, "so far")
        closing = asyncio.create_task(recorded.recorder.close())
        await asyncio.sleep(0)
        write(run, ", and more")
    await closing
    assert (recorded.problems, recorded.recorder.problem) == ([], None)
    await history.close()
    assert rows(RUNS) == [("smol", "interrupted", "so far, and more")]
    assert rows("SELECT head_id FROM lane") == [(run.id,)]


async def test_waiting_callers_get_an_error_when_closing_times_out(recorded, history, until, monkeypatch):
    monkeypatch.setattr(queue, "CLOSE_S", 0.0)
    monkeypatch.setattr(queue, "LAST_TRY_S", 0.01)
    recorded.prompt("x")
    async with slow(history):
        saving = asyncio.create_task(recorded.recorder.saved(recorded.conversation))
        await is_saving(history, until)
        await recorded.recorder.close()
        problem = await saving
    assert problem is not None
    assert problem.message == "The history did not answer in time."
    assert [error.message for error in recorded.problems] == [
        f"1 prompt could not be saved. {problem.message}"
    ]


async def test_a_closed_conversation_is_saved_until_its_runs_end(recorded, history, until):
    lane = recorded.lane()
    run = recorded.start(recorded.prompt("x"), lane)
    recorded.recorder.left(recorded.conversation)
    write(run, "so far")
    await until(lambda: rows("SELECT text FROM piece") == [("so far",)])
    write(run, ", and more")
    assert unsaved(recorded)
    end(run)
    await until(lambda: not unsaved(recorded))
    assert rows(RUNS) == [("smol", "done", "so far, and more")]


def unsaved(recorded):
    """Return the conversations that the recorder still has in memory."""
    return recorded.recorder._outboxes


def write_pieces(run: Run, count: int = 200) -> None:
    """Add `count` pieces of 24 characters to a run."""
    for number in range(count):
        write(run, f"{number:23} ")


async def test_a_locked_file_loses_nothing(recorded, history, until):
    lane = recorded.lane()
    run = recorded.start(recorded.prompt("go on"), lane)
    assert await recorded.saved()
    with locked():
        write_pieces(run)
        await until(lambda: recorded.problems)
        assert [str(recorded.recorder.problem)] == list(map(str, recorded.problems))
        later = recorded.prompt("meanwhile", run.prompt)
    end(run)
    again = end(recorded.start(later, lane))
    await until(lambda: recorded.recorder.problem is None)
    assert await recorded.saved()
    assert [error.message for error in recorded.problems] == [
        f"The history in {history_file()} cannot be used: another program keeps it locked."
    ]
    assert recorded.saved_again == 1
    saved = await history.load(recorded.conversation.number)
    assert [facts(it) for it in saved.runs] == [facts(run), facts(again)]


@pytest.mark.parametrize(
    ("break_", "mend", "reason"),
    [
        ("max_page_count = 1", "max_page_count = 1000000", "the disk is full"),
        ("query_only = 1", "query_only = 0", "it may not be written to"),
    ],
)
async def test_a_full_disk_and_a_read_only_file_lose_nothing(recorded, history, break_, mend, reason, until):
    lanes = [recorded.lane(SMOL), recorded.lane(LARGE, 1)]
    prompt = recorded.prompt("go on")
    runs = [recorded.start(prompt, lane) for lane in lanes]
    assert await recorded.saved()
    await pragma(history, break_)
    write_pieces(runs[0])
    while await recorded.saved():
        for run in runs:
            write_pieces(run)
    end(runs[0])
    added = recorded.lane(SMOL, 2)
    last = recorded.start(recorded.prompt("y" * 10_000, prompt), added)
    assert len(recorded.problems) == 1
    assert reason in recorded.problems[0].message
    assert recorded.problems[0] is recorded.recorder.problem or reason in recorded.recorder.problem.message
    await pragma(history, mend)
    await until(lambda: recorded.recorder.problem is None)
    assert recorded.saved_again == 1
    for run in (runs[1], last):
        end(run)
    assert await recorded.saved()
    saved = await history.load(recorded.conversation.number)
    assert [facts(run) for run in saved.runs] == [facts(run) for run in (*runs, last)]
    assert [facts(lane.head) for lane in saved.lanes] == [facts(run) for run in (*runs, last)]
    assert len(recorded.problems) == 1


async def test_a_recorder_that_cannot_save_reports_what_was_lost(recorded, history, monkeypatch):
    monkeypatch.setattr(queue, "CLOSE_S", 0.2)
    lanes = [recorded.lane(SMOL), recorded.lane(LARGE, 1)]
    prompt = recorded.prompt("go on")
    runs = [recorded.start(prompt, lane) for lane in lanes]
    write(runs[0], "saved")
    assert await recorded.saved()
    with locked():
        write(runs[0], "x" * 1000)
        write(runs[1], "y" * 234, "thinking")
        end(runs[1], "stopped")
        recorded.prompt("also lost", prompt)
        await recorded.recorder.close()
        assert len(recorded.problems) == 2
        assert recorded.problems[1].message == (
            f"1 prompt and 1,234 characters of 2 answers could not be saved. {recorded.problems[0].message}"
        )
        await history.close()
    assert rows("SELECT group_concat(text, '') FROM piece") == [("saved",)]


async def test_closing_waits_until_a_lock_is_released(recorded, history, until, monkeypatch):
    monkeypatch.setattr(queue, "CLOSE_S", 60.0)
    run = recorded.start(recorded.prompt("go on"), recorded.lane())
    assert await recorded.saved()
    with locked():
        write(run, "kept")
        end(run)
        closing = asyncio.create_task(recorded.recorder.close())
        await until(lambda: recorded.problems)
        assert not closing.done()
    await closing
    assert rows(RUNS) == [("smol", "done", "kept")]
    assert len(recorded.problems) == 1


@pytest.mark.parametrize(
    "how", ["deleted", "moved with its folder", "replaced by another", "deleted before the end"]
)
async def test_the_conversation_is_saved_again_after_the_history_is_moved_or_deleted(
    recorded, history, how, until
):
    lanes = [recorded.lane(SMOL), recorded.lane(LARGE, 1)]
    first = recorded.prompt("hello")
    runs = [end(recorded.start(first, lane)) for lane in lanes]
    runs.append(recorded.start(recorded.prompt("and?", first), lanes[0]))
    write(runs[2], "so far")
    assert await recorded.saved()
    path, is_last = history_file(), how.endswith("the end")
    if is_last:
        end(runs[2])
        assert await recorded.saved()
    if how.startswith("moved"):
        path.parent.rename(path.parent.with_name("away"))
    elif how.startswith("replaced"):
        with contextlib.closing(open_store(path.with_name("other.db"))) as other:
            for number in range(30):  # so many that the log of the moved file does not cover this one
                ConversationWriter(other, f"Of the other {number} " * 100)
        path.rename(path.with_name("away.db"))
        path.with_name("other.db").replace(path)
    else:
        path.unlink()
    if not is_last:
        write(runs[2], ", and more")
        await until(lambda: recorded.problems and recorded.recorder.problem is None)
        end(runs[2])
        runs.append(end(recorded.start(recorded.prompt("later", first), lanes[1])))
        assert await recorded.saved()
    await recorded.recorder.close()
    assert ["was moved or deleted while" in str(problem) for problem in recorded.problems] == [True]
    await history.close()
    with contextlib.closing(open_store()) as store:
        saved = store.load(recorded.conversation.number)
        assert len(store.numbers()) == (31 if how.startswith("replaced") else 1)
    if how.startswith("replaced"):
        with contextlib.closing(open_store(path.with_name("away.db"))) as store:
            (number,) = store.numbers()
            assert [prompt.text for prompt in store.load(number).conversation.prompts] == ["hello", "and?"]
    assert [prompt.text for prompt in saved.conversation.prompts] == ["hello", "and?", "later"][: 3 - is_last]
    assert {run.id: facts(run) for run in saved.runs} == {run.id: facts(run) for run in runs}
    assert [facts(lane.head) for lane in saved.lanes] == [facts(lane.head) for lane in lanes]


async def test_a_conversation_deleted_by_another_program_is_reported(recorded, history):
    lane = recorded.lane()
    first = recorded.prompt("hello")
    run = recorded.start(first, lane)
    assert await recorded.saved()
    await history.call(lambda store: store.delete_conversation(recorded.conversation.number))
    write(run, "hi")
    assert not await recorded.saved()
    assert isinstance(recorded.recorder.problem, ConversationDeleted)
    end(run)
    end(recorded.start(recorded.prompt("still there?", first), lane))
    await recorded.recorder.close()
    assert recorded.problems == [recorded.recorder.problem]
    assert rows(RUNS) == [("smol", "running", "")], "nothing is added to it"
    anew = RecordedConversation(history)
    end(anew.start(anew.prompt("anew"), anew.lane()))
    await anew.recorder.close()
    assert (rows(RUNS)[1:], anew.problems) == ([("smol", "done", "")], [])


async def test_a_failing_callback_does_not_end_saving(history, check_nothing_left, until):
    recorded = RecordedConversation(history)
    recorded.problems = None  # so that the callback for problems raises
    recorded.recorder._on_problem = lambda error: recorded.problems.append(error)
    run = recorded.start(recorded.prompt("x"), recorded.lane())
    assert await recorded.saved()
    with locked():
        write(run, "kept")
        assert not await recorded.saved()
    await until(lambda: recorded.saved_again)
    end(run)
    await recorded.recorder.close()
    assert rows(RUNS) == [("smol", "done", "kept")]
    assert [type(it["exception"]) for it in check_nothing_left] == [AttributeError]
    check_nothing_left.clear()


async def test_a_programming_error_is_reported_and_affects_only_the_history(
    recorded, history, check_nothing_left
):
    run = recorded.start(recorded.prompt("x"), recorded.lane())
    change_result(run, manifest={"no": object()})  # JSON cannot represent it
    run.take(RunSettings(seed=7))
    assert not await recorded.saved()
    assert "TypeError" in recorded.recorder.problem.message
    write(run, "four")
    end(run)
    await recorded.recorder.close()
    assert len(recorded.problems) == 2
    assert recorded.problems[1].message.startswith(
        "1 prompt and 4 characters of 1 answer could not be saved."
    )
    assert [type(it["exception"]) for it in check_nothing_left] == [TypeError]
    check_nothing_left.clear()


# ── A program that is killed ─────────────────────────────────────────────────────────────────────
