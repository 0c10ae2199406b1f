"""A conversation on disk while it happens. Its runs are played by the test: no lane, no engine."""

import asyncio
import contextlib
import json
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from tests.workbench.history_file import locked, rows
from tests.workbench.written import LARGE, SMOL, facts

from paragone import Caution, ParagoneError, RunSettings, Token
from paragone.wire import to_json
from paragone_workbench.conversation.tree import Conversation, Prompt
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.paths import history_file
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.runs.record import RunRecord
from paragone_workbench.store import ConversationDeleted, History, LaneRecord, Store, StoreError, _saver
from paragone_workbench.store.recorder import Recorder


class Talk:
    """A conversation that is recorded. Its methods do what a session and its runs do."""

    def __init__(self, history: History, conversation: Conversation | None = None) -> None:
        self.problems: list[StoreError] = []
        self.saved_again = 0
        self.conversation = conversation or Conversation()
        self.recorder = Recorder(history, self.conversation, self.problems.append, self.on_saved_again)

    def on_saved_again(self) -> None:
        self.saved_again += 1

    def lane(self, definition: EngineDefinition = SMOL, position: int = 0) -> LaneRecord:
        lane = LaneRecord(definition=definition, position=position)
        self.recorder.lane_added(lane)
        return lane

    def prompt(self, text: str, parent: Prompt | None = None, **fields) -> Prompt:
        prompt = self.conversation.add(Prompt(text=text, parent=parent, **fields))
        self.recorder.prompt_added(prompt)
        return prompt

    def wait(self, prompt: Prompt, lane: LaneRecord) -> RunRecord:
        """Give a lane a run that waits for its engine."""
        run = RunRecord(definition=lane.definition, prompt=prompt, continues=lane.head)
        lane.head = run
        lane.runs.append(run)
        self.recorder.follow(run, lane)
        self.recorder.lane_changed(lane)
        return run

    def start(self, prompt: Prompt, lane: LaneRecord) -> RunRecord:
        return began(self.wait(prompt, lane))


def began(run: RunRecord) -> RunRecord:
    run.phase = "prefill"
    run.manifest = {"engine": to_json(run.definition)}
    run.notify(lambda it: it.run_started(run))
    return run


def end(run: RunRecord, state="done", **fields) -> RunRecord:
    for name, value in fields.items():
        setattr(run, name, value)
    run.state, run.phase, run.ended = state, "ended", time.time()
    run.notify(lambda it: it.run_ended(run))
    return run


@pytest.fixture
async def talk(history):
    talk = Talk(history)
    yield talk
    await talk.recorder.close()


async def pragma(history: History, sql: str) -> int | None:
    """Execute a pragma on the history's own connection."""
    found = await history._call(lambda store: store._database.rows(f"PRAGMA {sql}"))
    return found[0][0] if found else None


RUNS = "SELECT engine, state, text FROM run ORDER BY id"


# ── While it happens ───────────────────────────────────────────────────────────────────────────


async def test_nothing_is_saved_before_there_is_a_prompt(talk, history):
    talk.lane(SMOL)
    away = talk.lane(LARGE, 1)
    away.closed = True
    talk.recorder.lane_changed(away)
    assert await talk.recorder.saved()
    assert talk.conversation.id is None
    assert rows("SELECT * FROM conversation") == rows("SELECT * FROM lane") == []
    talk.prompt("hello")
    assert await talk.recorder.saved()
    assert rows("SELECT json_extract(definition, '$.name') FROM lane") == [("smol",)], (
        "the one that was closed before leaves no trace"
    )


async def test_a_conversation_is_saved_as_it_was(talk, history):
    lanes = [talk.lane(SMOL), talk.lane(LARGE, 1)]
    first = talk.prompt("First?\nMore", system="Be brief.", sampling={"seed": 1})
    for lane in lanes:
        run = talk.start(first, lane)
        run.add("thinking", "hm")
        run.add("answer", "one ")
        run.cautions.append(Caution(code="turns-dropped", sentence="Some."))
        await talk.recorder.saved()
        run.add("answer", "two")
        end(
            run,
            finish="stop",
            metrics=RunMetrics(ttft_s=0.5),
            settings=RunSettings(seed=3, prompt="<s>"),
            tokens=[Token(text="one", id=1, logprob=-0.5, time=1.0)],
        )
    end(
        talk.start(talk.prompt("Second?", first), lanes[0]), "failed", error=ParagoneError("No.", hint="Yes.")
    )
    assert await talk.recorder.saved()
    saved = await history.load(talk.conversation.id)
    assert saved.title == "First?"
    assert [(it.id, it.text, it.system, it.sampling) for it in saved.conversation.prompts] == [
        (it.id, it.text, it.system, it.sampling) for it in talk.conversation.prompts
    ]
    assert [it.parent and it.parent.id for it in saved.conversation.prompts] == [None, first.id]
    for lane, kept in zip(lanes, saved.lanes, strict=True):
        assert (kept.id, kept.definition, kept.position) == (lane.id, lane.definition, lane.position)
        assert list(map(facts, kept.runs)) == list(map(facts, lane.runs))
        assert facts(kept.head) == facts(lane.head)
    assert talk.problems == []


async def test_a_prompt_and_the_end_of_a_run_are_saved_at_once(talk, monkeypatch):
    monkeypatch.setattr(_saver, "EVERY_S", 3600)
    lane = talk.lane()
    prompt = talk.prompt("hello")
    while not rows("SELECT 1 FROM prompt"):
        await asyncio.sleep(0.01)
    run = talk.start(prompt, lane)
    run.add("answer", "hi")
    end(run)
    while rows(RUNS) != [("smol", "done", "hi")]:
        await asyncio.sleep(0.01)
    assert rows("SELECT * FROM piece") == []


async def test_text_is_on_disk_while_the_run_goes_on(talk, until):
    lanes = [talk.lane(SMOL), talk.lane(LARGE, 1)]
    prompt = talk.prompt("go on")
    runs = [talk.start(prompt, lane) for lane in lanes]
    pieces = "SELECT group_concat(text, '') FROM (SELECT * FROM piece ORDER BY id) GROUP BY run_id"
    for _ in range(3):
        for number in range(50):
            for run in runs:
                run.add("answer", f"word{number} ")
            await asyncio.sleep(0)
        await until(lambda: [text for (text,) in rows(pieces)] == [run.text for run in runs])
    for run in runs:
        end(run, "stopped")
    assert await talk.recorder.saved()
    assert rows(RUNS) == [(lane.definition.name, "stopped", runs[0].text) for lane in lanes]
    assert rows("SELECT * FROM piece") == []


async def test_what_is_known_of_a_run_is_saved_while_it_goes_on(talk, history):
    run = talk.start(talk.prompt("x"), talk.lane())
    assert await talk.recorder.saved()
    run.settings = RunSettings(seed=7)
    run.changed()
    caution = Caution(code="turns-dropped", sentence="Some.")
    run.cautions.append(caution)
    run.notify(lambda it: it.cautioned(run, caution))
    run.add("answer", "so far")
    assert await talk.recorder.saved()
    (saved,) = (await history.load(talk.conversation.id)).runs
    assert (saved.settings, saved.cautions, saved.text) == (RunSettings(seed=7), [caution], "so far")
    assert (saved.state, rows(RUNS)) == ("interrupted", [("smol", "running", "")])
    end(run)


async def test_a_run_that_never_began_is_saved_if_it_failed(talk, history):
    lane, other = talk.lane(), talk.lane(LARGE, 1)
    first = talk.prompt("first")
    kept = end(talk.start(first, lane))
    second = talk.prompt("second", first)
    stopped = end(talk.wait(second, lane), "stopped", finish="cancelled")
    end(talk.wait(second, other), "failed", error=ParagoneError("There is no such model."))
    assert await talk.recorder.saved()
    assert stopped.id is None
    saved = await history.load(talk.conversation.id)
    assert facts(saved.lanes[0].head) == facts(kept), "the run that was stopped is not there to be shown"
    assert [run.state for run in saved.runs] == ["done", "failed"]
    assert str(saved.lanes[1].head.error) == "There is no such model."
    later = end(talk.start(second, lane))
    assert later.continues is stopped
    assert await talk.recorder.saved()
    head = (await history.load(talk.conversation.id)).lanes[0].head
    assert (head.id, head.continues.id) == (later.id, kept.id)


async def test_a_lane_shows_what_it_showed_until_its_new_run_begins(talk, history):
    lane = talk.lane()
    prompt = talk.prompt("x")
    first = end(talk.start(prompt, lane))
    lane.head = None  # it regenerates
    run = talk.wait(prompt, lane)
    assert await talk.recorder.saved()
    assert facts((await history.load(talk.conversation.id)).lanes[0].head) == facts(first)
    began(run)
    assert await talk.recorder.saved()
    assert (await history.load(talk.conversation.id)).lanes[0].head.id == run.id
    end(run)
    lane.head, lane.definition = first, LARGE
    talk.recorder.lane_changed(lane)
    assert await talk.recorder.saved()
    (saved,) = (await history.load(talk.conversation.id)).lanes
    assert (saved.head.id, saved.definition, len(saved.runs)) == (first.id, LARGE, 2)


async def test_a_password_in_a_url_is_not_kept(talk, history):
    box = EngineDefinition(
        name="box", backend="paper", model="m", options={"url": "https://me:s3cret@box/v1"}
    )
    lane = talk.lane(box)
    run = talk.wait(talk.prompt("x"), lane)
    end(run, "failed", error=ParagoneError("https://me:s3cret@box/v1 did not answer."))
    assert await talk.recorder.saved()
    await history.close()
    assert not [
        path for path in history_file().parent.iterdir() if path.is_file() and b"s3cret" in path.read_bytes()
    ]


async def test_a_loaded_conversation_goes_on(talk, history):
    lane = talk.lane()
    first = talk.prompt("first")
    end(talk.start(first, lane))
    await talk.recorder.saved()
    await talk.recorder.close()
    changes = await history._call(lambda store: store._database.rows("SELECT total_changes()"))

    saved = await history.load(talk.conversation.id)
    again = Talk(history, saved.conversation)
    (lane,) = saved.lanes
    again.recorder.lane_added(lane)
    again.recorder.follow(lane.head, lane)
    assert await again.recorder.saved()
    assert changes == await history._call(lambda store: store._database.rows("SELECT total_changes()"))
    new = again.lane(LARGE, 1)
    second = again.prompt("second", saved.conversation.prompts[0])
    for it in (lane, new):
        end(again.start(second, it))
    await again.recorder.close()
    whole = await history.load(talk.conversation.id)
    assert [it.text for it in whole.conversation.prompts] == ["first", "second"]
    assert [[facts(run) for run in it.runs] for it in whole.lanes] == [
        [facts(run) for run in it.runs] for it in (lane, new)
    ]
    assert whole.lanes[0].head.continues is whole.lanes[0].runs[0]


async def test_closing_saves_what_a_run_that_goes_on_has_so_far(talk, history):
    run = talk.start(talk.prompt("x"), talk.lane())
    run.add("answer", "so far")
    await talk.recorder.close()
    assert run._observers == []
    run.add("answer", ", and more")
    await history.close()
    assert rows(RUNS) == [("smol", "interrupted", "so far")]
    assert talk.problems == []


@contextlib.asynccontextmanager
async def slow(history: History):
    """Have what is saved meanwhile wait until the end, as on a slow disk."""
    begun, gate = asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()

    def wait(_: Store) -> bool:
        loop.call_soon_threadsafe(begun.set)
        return gate.wait(20)

    waiting = asyncio.ensure_future(history._call(wait))
    await begun.wait()
    try:
        yield
    finally:
        gate.set()
        assert await waiting


async def is_saving(history: History, until) -> None:
    """Wait until a slow history has got a batch."""
    await until(lambda: history._jobs.qsize())


async def test_a_run_that_starts_during_a_save_is_there_after_closing(talk, history, until):
    lane = talk.lane()
    prompt = talk.prompt("x")
    async with slow(history):
        await is_saving(history, until)
        run = talk.start(prompt, lane)
        run.add("answer", "so far")
        closing = asyncio.create_task(talk.recorder.close())
        await asyncio.sleep(0)
        run.add("answer", ", and more")
    await closing
    assert (talk.problems, talk.recorder.problem) == ([], None)
    await history.close()
    assert rows(RUNS) == [("smol", "interrupted", "so far, and more")]
    assert rows("SELECT head_id FROM lane") == [(run.id,)]


async def test_text_that_comes_during_a_save_is_there_after_closing(talk, history, until):
    lane = talk.lane()
    runs = [talk.start(talk.prompt(text), lane) for text in ("x", "y")]
    assert await talk.recorder.saved()
    async with slow(history):
        for run in runs:
            run.add("answer", "so ")
        await is_saving(history, until)
        for run in runs:
            run.add("answer", "far")
        closing = asyncio.create_task(talk.recorder.close())
        await asyncio.sleep(0)
        end(runs[1])
    await closing
    assert talk.problems == []
    await history.close()
    assert rows(RUNS) == [("smol", "interrupted", "so far"), ("smol", "done", "so far")]


async def test_a_recorder_that_finishes_saves_its_runs_to_their_ends(talk, history):
    lane = talk.lane()
    prompt = talk.prompt("x")
    run = talk.start(prompt, lane)
    finishing = asyncio.create_task(talk.recorder.finish())
    run.add("answer", "so far")
    await asyncio.sleep(1.0)
    assert not finishing.done()
    late = talk.start(prompt, talk.lane(LARGE, 1))
    talk.prompt("late", prompt)
    run.add("answer", ", and more")
    end(run)
    await finishing
    assert rows(RUNS) == [("smol", "done", "so far, and more")]
    assert rows("SELECT text FROM prompt") == [("x",)], "nothing is added to it"
    assert late.id is None


async def test_a_recorder_that_finishes_goes_on_trying(talk, history, monkeypatch):
    monkeypatch.setattr(_saver, "CLOSE_S", 0.1)
    run = talk.start(talk.prompt("x"), talk.lane())
    with locked():
        end(run)
        finishing = asyncio.create_task(talk.recorder.finish())
        await asyncio.sleep(3.0)  # two tries
        assert not finishing.done()
    await finishing
    assert rows(RUNS) == [("smol", "done", "")]
    assert (len(talk.problems), talk.saved_again) == (1, 1)


async def test_closing_ends_a_recorder_that_finishes(talk, history, monkeypatch):
    monkeypatch.setattr(_saver, "CLOSE_S", 0.1)
    with locked():
        end(talk.start(talk.prompt("x"), talk.lane()))
        finishing = asyncio.create_task(talk.recorder.finish())
        await asyncio.sleep(0)
        await talk.recorder.close()
        await finishing
    assert "could not be saved" in talk.problems[-1].sentence


async def test_a_recorder_that_finishes_ends_where_saving_is_given_up(talk, history):
    talk.start(talk.prompt("x"), talk.lane())
    assert await talk.recorder.saved()
    await history._call(lambda store: store.delete_conversation(talk.conversation.id))
    talk.lane(LARGE, 1)
    await talk.recorder.finish()
    assert isinstance(talk.recorder.problem, ConversationDeleted)


# ── A store that fails ─────────────────────────────────────────────────────────────────────────


class Ticking:
    """Measures for how long the event loop was blocked at most."""

    async def __aenter__(self):
        self.longest = 0.0
        self._task = asyncio.create_task(self._tick())
        return self

    async def _tick(self):
        while True:
            before = time.monotonic()
            await asyncio.sleep(0.01)
            self.longest = max(self.longest, time.monotonic() - before - 0.01)

    async def __aexit__(self, *_):
        self._task.cancel()
        await asyncio.wait([self._task])


async def write(run: RunRecord, count: int, seconds: float) -> None:
    """Have a run write so many pieces of 24 characters in so many seconds."""
    for number in range(count):
        run.add("answer", f"{number:23} ")
        await asyncio.sleep(seconds / count)


async def test_a_locked_file_costs_nothing_and_blocks_nothing(talk, history):
    lane = talk.lane()
    run = talk.start(talk.prompt("go on"), lane)
    assert await talk.recorder.saved()
    async with Ticking() as ticking:
        with locked():
            await write(run, 200, 2.0)
            assert len(run.text) == 4800
            assert talk.recorder.problem in talk.problems
            later = talk.prompt("meanwhile", run.prompt)
        end(run)
        again = end(talk.start(later, lane))
        while talk.recorder.problem:
            await asyncio.sleep(0.05)
        assert await talk.recorder.saved()
    # The file is locked for 2 s, and SQLite waits for 1 s at a time: an event loop that waited with it would show.
    assert ticking.longest < 0.5
    assert [error.sentence for error in talk.problems] == [
        f"The history in {history_file()} cannot be used: another program keeps it locked."
    ]
    assert talk.saved_again == 1
    assert [facts(it) for it in (await history.load(talk.conversation.id)).runs] == [facts(run), facts(again)]


@pytest.mark.parametrize(
    ("break_", "mend", "reason"),
    [
        ("max_page_count = 1", "max_page_count = 1000000", "the disk is full"),
        ("query_only = 1", "query_only = 0", "it may not be written to"),
    ],
)
async def test_a_disk_that_is_full_and_a_file_that_is_read_only_cost_nothing(
    talk, history, break_, mend, reason, until
):
    lanes = [talk.lane(SMOL), talk.lane(LARGE, 1)]
    prompt = talk.prompt("go on")
    runs = [talk.start(prompt, lane) for lane in lanes]
    assert await talk.recorder.saved()
    await pragma(history, break_)
    for run in runs:
        await write(run, 200, 0.1)
    while await talk.recorder.saved():
        for run in runs:
            await write(run, 200, 0.1)
    end(runs[0])
    added = talk.lane(SMOL, 2)
    last = talk.start(talk.prompt("y" * 10_000, prompt), added)
    assert len(talk.problems) == 1
    assert reason in talk.problems[0].sentence
    assert talk.problems[0] is talk.recorder.problem or reason in talk.recorder.problem.sentence
    await pragma(history, mend)
    await until(lambda: talk.recorder.problem is None)
    assert talk.saved_again == 1
    for run in (runs[1], last):
        end(run)
    assert await talk.recorder.saved()
    saved = await history.load(talk.conversation.id)
    assert [facts(run) for run in saved.runs] == [facts(run) for run in (*runs, last)]
    assert [facts(lane.head) for lane in saved.lanes] == [facts(run) for run in (*runs, last)]
    assert len(talk.problems) == 1


LIMITED = """
import asyncio, json, resource
from tests.workbench.test_recorder import Talk, end
from paragone_workbench.paths import history_file
from paragone_workbench.store import History

async def main():
    history = await History.open()
    talk = Talk(history)
    run = talk.start(talk.prompt("go on"), talk.lane())
    assert await talk.recorder.saved()
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = history_file().with_name("history.db-wal").stat().st_size
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    run.add("answer", "x" * 100_000)
    assert not await talk.recorder.saved()
    run.add("answer", "y")
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    while talk.recorder.problem:
        await asyncio.sleep(0.05)
    end(run)
    await talk.recorder.close()
    (saved,) = (await history.load(talk.conversation.id)).runs
    await history.close()
    print(json.dumps([saved.text == run.text, str(talk.problems[0]), len(talk.problems), talk.saved_again]))

asyncio.run(main())
"""


def test_a_system_that_refuses_to_write_costs_nothing():
    said = subprocess.run(
        [sys.executable, "-c", LIMITED],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    whole, problem, problems, saved_again = json.loads(said.stdout)
    assert (whole, problems, saved_again) == (True, 1, 1)
    assert "cannot be used: reading or writing failed. Check the disk" in problem or "disk is full" in problem


async def test_a_conversation_that_begins_while_the_file_is_locked(talk, history, until):
    with locked():
        first = end(talk.start(talk.prompt("first"), talk.lane()))
        await until(lambda: talk.problems)
        assert talk.conversation.id is None
    await until(lambda: talk.saved_again)
    assert facts((await history.load(talk.conversation.id)).lanes[0].head) == facts(first)


async def test_a_recorder_that_cannot_save_tells_what_was_lost(talk, history, monkeypatch):
    monkeypatch.setattr(_saver, "CLOSE_S", 1.2)  # two tries
    lanes = [talk.lane(SMOL), talk.lane(LARGE, 1)]
    prompt = talk.prompt("go on")
    runs = [talk.start(prompt, lane) for lane in lanes]
    runs[0].add("answer", "saved")
    assert await talk.recorder.saved()
    with locked():
        runs[0].add("answer", "x" * 1000)
        runs[1].add("thinking", "y" * 234)
        end(runs[1], "stopped")
        talk.prompt("also lost", prompt)
        await talk.recorder.close()
        assert len(talk.problems) == 2
        assert talk.problems[1].sentence == (
            f"1 prompt and 1,234 characters of 2 answers could not be saved. {talk.problems[0].sentence}"
        )
        await history.close()
    assert rows("SELECT group_concat(text, '') FROM piece") == [("saved",)]


async def test_closing_waits_for_a_lock_that_is_given_back(talk, history):
    run = talk.start(talk.prompt("go on"), talk.lane())
    assert await talk.recorder.saved()
    with locked():
        run.add("answer", "kept")
        end(run)
        closing = asyncio.create_task(talk.recorder.close())
        await asyncio.sleep(1.5)
        assert not closing.done()
    await closing
    assert rows(RUNS) == [("smol", "done", "kept")]
    assert len(talk.problems) == 1


async def test_a_conversation_that_another_program_deleted(talk, history):
    lane = talk.lane()
    first = talk.prompt("hello")
    run = talk.start(first, lane)
    assert await talk.recorder.saved()
    await history._call(lambda store: store.delete_conversation(talk.conversation.id))
    run.add("answer", "hi")
    assert not await talk.recorder.saved()
    assert isinstance(talk.recorder.problem, ConversationDeleted)
    end(run)
    end(talk.start(talk.prompt("still there?", first), lane))
    await asyncio.sleep(0.6)
    await talk.recorder.close()
    assert talk.problems == [talk.recorder.problem]
    assert rows(RUNS) == []
    anew = Talk(history)
    end(anew.start(anew.prompt("anew"), anew.lane()))
    await anew.recorder.close()
    assert (rows(RUNS), anew.problems) == ([("smol", "done", "")], [])


async def test_a_deletion_that_is_found_after_a_lock_is_told(talk, history, until):
    run = talk.start(talk.prompt("hello"), talk.lane())
    assert await talk.recorder.saved()
    with locked():
        run.add("answer", "hi")
        assert not await talk.recorder.saved()
    with contextlib.closing(sqlite3.connect(history_file())) as other, other:
        other.execute("PRAGMA foreign_keys = ON")
        other.execute("DELETE FROM conversation")
    await until(lambda: len(talk.problems) == 2)
    assert isinstance(talk.problems[1], ConversationDeleted)
    assert talk.saved_again == 0
    await talk.recorder.close()
    assert len(talk.problems) == 2


async def test_a_listener_that_fails_does_not_end_the_saving(history, check_nothing_left, until):
    talk = Talk(history)
    talk.problems = None  # so that telling of a problem fails
    talk.recorder._on_problem = lambda error: talk.problems.append(error)
    run = talk.start(talk.prompt("x"), talk.lane())
    assert await talk.recorder.saved()
    with locked():
        run.add("answer", "kept")
        assert not await talk.recorder.saved()
    await until(lambda: talk.saved_again)
    end(run)
    await talk.recorder.close()
    assert rows(RUNS) == [("smol", "done", "kept")]
    assert [type(it["exception"]) for it in check_nothing_left] == [AttributeError]
    check_nothing_left.clear()


async def test_a_mistake_of_ours_is_told_and_costs_the_history_only(talk, history, check_nothing_left):
    run = talk.start(talk.prompt("x"), talk.lane())
    run.manifest = {"no": object()}  # JSON cannot hold it
    assert not await talk.recorder.saved()
    assert "TypeError" in talk.recorder.problem.sentence
    run.add("answer", "four")
    end(run)
    await talk.recorder.close()
    assert len(talk.problems) == 2
    assert talk.problems[1].sentence.startswith("1 prompt and 4 characters of 1 answer could not be saved.")
    assert [type(it["exception"]) for it in check_nothing_left] == [TypeError]
    check_nothing_left.clear()


# ── A program that is killed ─────────────────────────────────────────────────────────────────────

PROGRAM = """
import asyncio, json, time
from tests.workbench.test_recorder import Talk
from paragone_workbench.store import History

async def main():
    talk = Talk(await History.open())
    run = talk.start(talk.prompt("go on"), talk.lane())
    while True:
        piece = f"{len(run.text)} "
        run.add("answer", piece)
        print(json.dumps([time.monotonic(), piece]), flush=True)
        await asyncio.sleep(0.02)

asyncio.run(main())
"""


async def test_a_kill_loses_half_a_second_at_most(check_nothing_left):
    program = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]
    )
    with program, program.stdout as said:
        came = [json.loads(said.readline()) for _ in range(60)]
        killed = time.monotonic()
        program.send_signal(signal.SIGKILL)
        came += [json.loads(line) for line in said if line.endswith("\n")]
    history = await History.open()
    (summary,) = await history.conversations()
    (run,) = (await history.load(summary.id)).runs
    await history.close()
    assert run.state == "interrupted"
    # twice what is promised, for a machine that is busy
    assert run.text.startswith("".join(piece for moment, piece in came if moment < killed - 1.0))
    assert "".join(piece for _, piece in came).startswith(run.text)
    assert run.text
