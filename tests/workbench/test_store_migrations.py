"""Files of older versions: nothing in them is lost."""

import contextlib
import dataclasses
import itertools
import json
import re
import shutil
import sqlite3
import stat
from pathlib import Path
from typing import Any

import pytest
from tests.workbench.conversation_writer import LARGE, SMOL, ConversationWriter, facts
from tests.workbench.history_file import schema_of

from paragone import Caution, LoadedModel, ParagoneError, RunSettings, Token, WeightsFile
from paragone.wire import to_json
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.store import RunKey, SavedConversation, Store, StoreError, Vote
from paragone_workbench.store.experiment_records import Digests, KnownRun
from paragone_workbench.store.file.database import SCHEMA, Database
from paragone_workbench.store.tables.tokens import pack

NEWEST = max(int(path.name[:4]) for path in SCHEMA.glob("0*.sql"))
WHOLE = sorted(int(path.name[6:10]) for path in SCHEMA.glob("whole_*.sql"))
FIRST = Path(__file__).parent / "old_histories/0001_first.sql"


@pytest.fixture
def schema(tmp_path):
    """A folder with the schema of a new file, for tests to add more."""
    return shutil.copytree(SCHEMA, tmp_path / "schema")


@pytest.fixture
def old(tmp_path, schema):
    """A history from an older version of the program."""
    path = tmp_path / "history.db"
    database = Database(path, schema)
    database.run("INSERT INTO conversation (id, title, created, updated) VALUES ('x', 'old', 1, 1)")
    database.close()
    return path


def version(path):
    raw = sqlite3.connect(path)
    number = raw.execute("PRAGMA user_version").fetchone()[0]
    raw.close()
    return number


def test_numbers_have_no_gaps():
    older = sorted(path.name[:5] for path in (SCHEMA / "older").iterdir())
    assert older == [f"{number:04}_" for number in range(2, 7)]
    newer = sorted(path.name[:5] for path in SCHEMA.glob("0*.sql"))
    assert newer == [f"{number:04}_" for number in range(7, 7 + len(newer))]


@pytest.mark.parametrize(("earlier", "version"), itertools.pairwise(WHOLE))
def test_a_whole_schema_is_what_the_steps_from_the_earlier_one_lead_to(tmp_path, earlier, version):
    whole = schema_of(version, tmp_path / "whole")
    steps = shutil.copytree(whole, tmp_path / "steps")
    (steps / f"whole_{version:04}.sql").unlink()
    Database(tmp_path / "new.db", whole).close()
    Database(tmp_path / "migrated.db", steps).close()
    assert earlier < version
    assert schema_in(tmp_path / "new.db") == schema_in(tmp_path / "migrated.db")


def schema_in(path: Path) -> dict[str, str]:
    """The statements that create what is in the file, by its name, without comments, quotes and spaces."""
    with contextlib.closing(sqlite3.connect(path)) as raw:
        statements = raw.execute("SELECT type || ' ' || name, coalesce(sql, '') FROM sqlite_master")
        return {name: re.sub(r"--.*|[\s\"]", "", sql) for name, sql in statements}


def test_a_new_file_gets_all_migrations(tmp_path, schema):
    (schema / f"{NEWEST + 1:04}_more.sql").write_text(
        "CREATE TABLE more (x);\nCREATE TABLE yet_more (x)  -- the end"
    )
    Database(tmp_path / "history.db", schema).close()
    assert version(tmp_path / "history.db") == NEWEST + 1
    assert not list(tmp_path.glob("*.bak"))


def test_an_older_file_is_copied_and_migrated(old, schema):
    (schema / f"{NEWEST + 1:04}_more.sql").write_text("ALTER TABLE conversation ADD COLUMN more TEXT;")
    (schema / f"{NEWEST + 2:04}_trigger.sql").write_text(
        "CREATE TRIGGER t AFTER INSERT ON lane BEGIN\n  SELECT 1;\n  SELECT 2;\nEND;\n"
    )
    database = Database(old, schema)
    assert database.rows("SELECT title, more FROM conversation") == [("old", None)]
    database.close()
    backup = old.with_name(f"history.db.v{NEWEST}.bak")
    assert (version(old), version(backup)) == (NEWEST + 2, NEWEST)
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    raw = sqlite3.connect(backup)
    assert raw.execute("SELECT title FROM conversation").fetchall() == [("old",)]
    raw.close()


def test_a_migration_that_fails_changes_nothing(old, schema):
    (schema / f"{NEWEST + 1:04}_more.sql").write_text("ALTER TABLE conversation ADD COLUMN more TEXT;")
    (schema / f"{NEWEST + 2:04}_broken.sql").write_text("ALTER TABLE nowhere ADD COLUMN x;")
    with pytest.raises(StoreError, match="nowhere"):
        Database(old, schema)
    assert version(old) == NEWEST
    database = Database(old)
    assert database.rows("SELECT number, id, title, created, updated FROM conversation") == [
        (1, "x", "old", 1.0, 1.0)
    ]
    database.close()


# ── From before version 6 ──────────────────────────────────────────────────────────────────────

# That version showed all prompts, and in each lane the latest run of each prompt.
OLD_PATH = """
    WITH RECURSIVE branch (id, parent_id) AS (
      SELECT id, parent_id FROM prompt WHERE id = (SELECT max(id) FROM prompt WHERE conversation_id = :id)
      UNION ALL
      SELECT prompt.id, prompt.parent_id FROM prompt JOIN branch ON prompt.id = branch.parent_id
    )
    SELECT branch.id, (SELECT max(run.id) FROM run WHERE prompt_id = branch.id AND lane_id = :lane)
    FROM branch ORDER BY branch.id
"""


class Old:
    """A history of a version before 6, for tests to write to."""

    def __init__(self, path: Path, version: int) -> None:
        self.path = path
        raw = sqlite3.connect(path)
        raw.executescript(FIRST.read_text())
        for script in sorted((SCHEMA / "older").iterdir())[: version - 1]:
            raw.executescript(script.read_text())
        raw.execute(f"PRAGMA user_version = {version}")
        raw.execute("PRAGMA journal_mode = WAL")
        self.raw = raw

    def close(self) -> None:
        self.raw.commit()
        self.raw.close()

    def insert(self, table: str, **values) -> int:
        sql = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})"
        return self.raw.execute(sql, tuple(values.values())).lastrowid

    def conversation(self, system: str = "") -> int:
        return self.insert("conversation", title="old", system=system, created=1, updated=2)

    def lane(self, conversation: int, name: str, closed: bool = False) -> int:
        definition = {"name": name, "backend": "paper", "model": "m", "options": {"n_ctx": 8}}
        return self.insert(
            "lane",
            conversation_id=conversation,
            position=self.raw.execute("SELECT count(*) FROM lane").fetchone()[0],
            definition=json.dumps(definition),
            closed=closed,
        )

    def prompt(self, conversation: int, text: str, parent: int | None = None) -> int:
        return self.insert("prompt", conversation_id=conversation, parent_id=parent, text=text, created=3)

    def run(self, prompt: int, lane: int, text: str, state: str = "done", **fields) -> int:
        fields = {"manifest": json.dumps({"engine": to_json(SMOL), "seed": 1}), **fields}
        return self.insert(
            "run",
            prompt_id=prompt,
            lane_id=lane,
            engine="was",
            backend="paper",
            model="m",
            **{"state": state, "text": text, "thinking": f"so {text}", "started": 4, "ended": 5, **fields},
        )


@pytest.fixture
def second(tmp_path):
    """The second version, whose conversations were a line of prompts."""
    old = Old(tmp_path / "history.db", 2)
    yield old
    old.raw.close()


def paths(saved: SavedConversation) -> dict[str, list[tuple[str, int]]]:
    """Return the prompt and the run of each step of every lane's path, by the lane's engine."""
    steps: dict[str, list[tuple[str, int]]] = {}
    for lane in saved.lanes:
        its = steps[lane.definition.name] = []
        run = lane.head
        while run is not None:
            its.insert(0, (run.prompt.text, run.number))
            run = run.continues
    return steps


def test_a_migration_from_the_second_version_keeps_everything_and_the_lanes_paths(second):
    chat = second.conversation(system="Be brief.")
    left, right = second.lane(chat, "left"), second.lane(chat, "right")
    gone, _ = second.lane(chat, "gone", closed=True), second.lane(chat, "silent")
    one = second.prompt(chat, "one")
    for name in ("cat.png", "dog.png"):
        second.insert("image", prompt_id=one, name=name, media_type="image/png", data=b"\0\1\2")
    second.run(one, left, "first try", "stopped", finish="cancelled")
    second.run(one, right, "right's", finish="stop", metrics=json.dumps(to_json(RunMetrics(ttft_s=0.5))))
    chosen = second.run(one, left, "second try")
    second.run(one, gone, "a word", "failed", error="It broke. Mend it.", manifest="{}")
    two = second.prompt(chat, "two", one)
    second.run(two, left, "left's second", "interrupted", ended=None)
    three = second.prompt(chat, "three", two)
    second.run(three, right, "right was not asked two")
    second.run(three, left, "left's third")
    owner = second.insert("owner", lock="of a program that was killed")
    killed = second.run(three, right, "", "running", owner_id=owner, ended=None, thinking="")
    for piece in ("as far ", "as it came"):
        second.insert("piece", run_id=killed, text=piece, thinking="hm ")
    branches = second.conversation()
    lane, elsewhere = second.lane(branches, "left"), second.lane(branches, "other branch only")
    root = second.prompt(branches, "root")
    second.run(root, lane, "root's")
    second.run(second.prompt(branches, "first branch", root), elsewhere, "unseen")
    second.run(second.prompt(branches, "second branch", root), lane, "seen")
    second.prompt(branches, "another root")
    second.run(second.prompt(branches, "last", root + 1), lane, "on the first branch")
    second.conversation(system="Nothing was asked.")
    second.close()

    store = Store.open(second.path)
    before = second.path.with_name("history.db.v2.bak")
    seen = {conversation: paths(store.load(conversation)) for conversation in (chat, branches)}
    with contextlib.closing(sqlite3.connect(before)) as raw:
        texts = dict(raw.execute("SELECT id, text FROM prompt"))
        for conversation, lanes in seen.items():
            for lane_id, name in raw.execute(
                "SELECT id, json_extract(definition, '$.name') FROM lane WHERE conversation_id = ?",
                (conversation,),
            ).fetchall():
                shown = raw.execute(OLD_PATH, {"id": conversation, "lane": lane_id}).fetchall()
                assert lanes[name] == [(texts[prompt], run) for prompt, run in shown if run is not None], name
    assert [len(steps) for steps in seen[chat].values()] == [3, 2, 1, 0]
    saved = store.load(chat)
    assert [lane.closed for lane in saved.lanes] == [False, False, True, False]
    assert saved.lanes[3].definition.name == "silent"
    assert saved.lanes[2].head.error.sentence == "It broke. Mend it."
    assert saved.lanes[2].head.result.definition.options == {}
    assert saved.lanes[0].head.result.definition.options == {"n_ctx": 8}
    last = saved.lanes[1].head
    assert (last.number, last.text, last.thinking) == (killed, "as far as it came", "hm hm ")
    assert (last.state, last.result.ended) == ("interrupted", None)
    assert [(len(lane.runs), lane.definition.name) for lane in saved.lanes] == [
        (4, "left"),
        (3, "right"),
        (1, "gone"),
        (0, "silent"),
    ]
    prompts = saved.conversation.prompts
    assert [(it.text, it.system, len(it.images)) for it in prompts] == [
        ("one", "Be brief.", 2),
        ("two", None, 0),
        ("three", None, 0),
    ]
    assert prompts[2].system_in_force == "Be brief."
    assert [it.system for it in store.load(branches).conversation.prompts] == [None] * 5
    (hit,) = store.search("second try")
    assert [run.number for run in saved.runs if run.id == hit.run_id] == [chosen]
    with contextlib.closing(sqlite3.connect(before)) as raw:
        for number, text, thinking, metrics in raw.execute("SELECT id, text, thinking, metrics FROM run"):
            (run,) = [run for it in (saved, store.load(branches)) for run in it.runs if run.number == number]
            if number != killed:
                assert (run.text, run.thinking) == (text, thinking)
            assert (run.result.metrics is None) == (metrics is None)
        assert raw.execute("SELECT data FROM image").fetchall() == store._database.rows(
            "SELECT data FROM image"
        )
    store.close()


def test_a_run_continues_only_earlier_runs(second):
    chat = second.conversation()
    lane = second.lane(chat, "left")
    one = second.prompt(chat, "one")
    two = second.prompt(chat, "two", one)
    early = second.run(two, lane, "before the first was answered")
    late = second.run(one, lane, "the first")
    last = second.run(two, lane, "after it")
    second.close()
    store = Store.open(second.path)
    assert {run.number: run.continues and run.continues.number for run in store.load(chat).runs} == {
        early: None,
        late: None,
        last: late,
    }
    store.close()


def test_a_lane_that_answered_only_on_another_branch_shows_it(second):
    chat = second.conversation()
    lane = second.lane(chat, "left")
    root = second.prompt(chat, "root")
    second.run(second.prompt(chat, "first branch", root), lane, "early")
    last = second.run(second.prompt(chat, "second branch", root), lane, "late")
    second.prompt(chat, "third branch", root)
    second.close()
    store = Store.open(second.path)
    assert store.load(chat).lanes[0].head.number == last
    store.close()


def test_a_migrated_conversation_can_be_continued(second):
    chat = second.conversation()
    lane_id = second.lane(chat, "left")
    second.run(second.prompt(chat, "one"), lane_id, "yes")
    second.close()
    store = Store.open(second.path)
    saved = store.load(chat)
    writer = ConversationWriter(store)
    writer.conversation = saved.conversation
    (lane,) = saved.lanes
    prompt = writer.prompt("two", saved.conversation.prompts[0])
    run = writer.answer(prompt, lane, "again", error=ParagoneError("It broke."))
    again = store.load(chat)
    assert facts(again.lanes[0].head) == facts(run)
    assert facts(again.lanes[0].head.continues) == facts(saved.runs[0])
    store.close()


@pytest.mark.thorough
def test_a_long_conversation_is_migrated_in_linear_time(tmp_path, monkeypatch):
    """The search for the previous run ends at the first prompt above."""
    work = 0
    connect = sqlite3.connect

    def counted() -> None:
        nonlocal work
        work += 1

    def connect_and_count(*args: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*args, **options)
        connection.set_progress_handler(counted, 100)  # of the instructions that SQLite executes
        return connection

    def migrated(prompts: int) -> int:
        nonlocal work
        old = Old(tmp_path / f"{prompts}.db", 2)
        chat = old.conversation()
        lane = old.lane(chat, "left")
        last = None
        for number in range(prompts):
            last = old.prompt(chat, f"{number}", last)
            old.run(last, lane, "yes", thinking="")
        old.close()
        work = 0
        with monkeypatch.context() as patched:
            patched.setattr(sqlite3, "connect", connect_and_count)
            store = Store.open(old.path)
        assert len(paths(store.load(chat))["left"]) == prompts
        store.close()
        return work

    assert 0 < migrated(800) < 5 * migrated(200)


METRICS = RunMetrics(ttft_s=0.1234567890123, completion_tokens=3)
SETTINGS = RunSettings(seed=3, sampling={"top_k": None, "temperature": 0.5})
CAUTION = Caution(code="turns-dropped", sentence="Some.")
REMOTE = dataclasses.replace(SMOL, address="http://box:1234", python="/usr/bin/python3")
COMMON = {"engine": to_json(REMOTE), "loaded": to_json(LoadedModel(name="Smol")), "machine": {"cores": 2}}
REQUEST = {"sampling": {"seed": None}, "logprobs": 0, "messages": 1}
ENDED = 1_732_731_234.123456


@pytest.fixture
def fifth(tmp_path):
    """The fifth version, with two branches, an image, an experiment, votes, a measurement and a digest."""
    old = Old(tmp_path / "history.db", 5)
    chat = old.insert("conversation", title="chat", created=1.5, updated=2)
    lane = old.lane(chat, "smol")
    root = old.insert("prompt", conversation_id=chat, text="root", system="Be brief.", created=3)
    old.insert("image", prompt_id=root, name="a.png", media_type="image/png", data=b"a")
    old.insert("image", prompt_id=root, name="b.png", media_type="image/png", data=b"b")
    result = {
        "engine": "smol",
        "backend": "paper",
        "model": "/m/smol",
        "state": "done",
        "text": "A zebra",
        "thinking": "Hm.",
        "finish": "stop",
        "error": "",
        "hint": "",
        "metrics": json.dumps(to_json(METRICS)),
        "settings": json.dumps(to_json(SETTINGS)),
        "cautions": json.dumps([to_json(CAUTION)]),
        "started": 4.25,
        "ended": ENDED,
    }
    manifest = json.dumps({**COMMON, "request": REQUEST})
    first = old.insert("run", prompt_id=root, lane_id=lane, manifest=manifest, **result)
    tokens = pack([Token(text="A zebra", id=1, logprob=-0.5, time=1.0)])
    old.insert("token", run_id=first, data=tokens)
    for text in ("one branch", "other branch"):
        prompt = old.insert(
            "prompt",
            conversation_id=chat,
            parent_id=root,
            text=text,
            sampling='{"seed": 1}',
            for_all=0,
            created=5,
        )
        last = old.insert(
            "run",
            prompt_id=prompt,
            lane_id=lane,
            manifest="{}",
            **{
                **result,
                "text": text,
                "continues_id": first,
                "state": "failed",
                "error": "No.",
                "hint": "Yes.",
            },
        )
    old.raw.execute("UPDATE lane SET head_id = ?", (last - 1,))
    experiment = old.insert(
        "experiment",
        name="colours",
        fingerprint="f",
        schedule="swap",
        repetitions=2,
        engines=json.dumps([to_json(SMOL), to_json(LARGE)]),
        machine='{"cores": 2}',
        prompts=1,
        created=6.5,
    )
    old.insert("experiment_prompt", experiment_id=experiment, position=7, content='{"line": 8}')
    shared = old.insert("manifest", sha256="of another time", data=json.dumps(COMMON))
    for repetition in (0, 1):
        run = old.insert(
            "experiment_run",
            experiment_id=experiment,
            prompt_index=7,
            engine_index=1,
            repetition=repetition,
            manifest_id=shared if repetition else None,
            request=json.dumps(REQUEST if repetition else {}),
            tokens=tokens if repetition else None,
            assertions='[{"type": "equals", "passed": true}]',
            **result,
        )
    for candidates, place in (
        ([f"r{first}", f"r{last}"], {"prompt_id": root}),
        ([f"e{experiment}/{run}", "e9/9"], {"experiment_id": experiment, "prompt_index": 7}),
    ):
        listed = json.dumps([{"engine": it, "backend": "b", "model": "m", "run": it} for it in candidates])
        old.insert("vote", candidates=listed, choice="1", blind=1, created=7, **place)
    old.insert("measurement", kind="bench", engines=json.dumps([to_json(SMOL)]), data='{"x": 1}', created=8)
    old.insert("weights", path="/m", size=1, modified_ns=2, sha256="abc")
    for table in ("conversation", "experiment", "experiment_run"):  # the numbers of deleted rows stay unused
        old.raw.execute("UPDATE sqlite_sequence SET seq = 40 WHERE name = ?", (table,))
    old.close()
    return old


def test_a_migration_from_the_fifth_version_keeps_everything(fifth):
    store = Store.open(fifth.path)
    saved = store.load(1)
    (lane,) = saved.lanes
    root, *branches = saved.conversation.prompts
    assert (saved.title, saved.conversation.created, saved.updated) == ("chat", 1.5, 2)
    assert [image.name for image in root.images] == ["a.png", "b.png"]
    assert [image.data for image in root.images] == ["YQ==", "Yg=="]
    assert [(it.text, it.parent, it.sampling, it.for_all) for it in branches] == [
        (text, root, {"seed": 1}, False) for text in ("one branch", "other branch")
    ]
    first, one, other = lane.runs
    assert (lane.head, one.continues, other.continues, one.prompt) == (one, first, first, branches[0])
    result = first.result
    assert (result.text, result.thinking, result.state, result.finish) == ("A zebra", "Hm.", "done", "stop")
    assert (result.metrics, result.settings, result.cautions) == (METRICS, SETTINGS, (CAUTION,))
    assert (result.started, result.ended) == (4.25, ENDED)
    assert (result.definition, result.loaded.name) == (REMOTE, "Smol")
    assert result.manifest == {**COMMON, "request": REQUEST}
    assert [token.text for token in result.tokens] == ["A zebra"]
    assert (one.state, one.result.message, one.result.manifest) == ("failed", "No. Yes.", {})

    experiment = store.experiments.get(1)
    assert (experiment.name, experiment.engines, experiment.repetitions) == ("colours", (SMOL, LARGE), 2)
    assert (experiment.done, experiment.created) == (2, 6.5)
    assert store.experiments.prompts(1) == ((7, {"line": 8}),)
    without, with_manifest = store.experiments.runs(1)
    assert with_manifest.key == RunKey(prompt_index=7, engine_index=1, repetition=1)
    assert (without.number, with_manifest.number) == (1, 2)
    assert with_manifest.assertions == ({"type": "equals", "passed": True},)
    assert with_manifest.result.manifest == result.manifest
    assert (without.result.manifest, without.result.tokens) == ({}, ())
    assert with_manifest.result.tokens == result.tokens
    assert {hit.id for hit in store.search("zebra")} == {"c1", "e1/1", "e1/2"}

    chat, suite = store.votes.all()
    assert runs_of(chat) == [first.id, other.id]
    assert runs_of(suite) == [with_manifest.result.id, "e9/9"]
    assert (chat.prompt_id, chat.choice, chat.blind) == (root.id, 1, True)
    assert (suite.experiment_id, suite.prompt_index, suite.candidates[0].engine) == (1, 7, "e1/2")
    (measurement,) = store.measurements.all("bench")
    assert (measurement.data, measurement.engines, measurement.created) == ({"x": 1}, (SMOL,), 8)
    file = WeightsFile(path="/m", size=1, modified_ns=2)
    assert store.measurements.weights_digest(file) == "abc"

    writer = ConversationWriter(store, "new")
    run = writer.answer(writer.conversation.prompts[0], writer.lane(), "new")
    assert writer.number == 41
    assert run.number > other.number
    assert store.experiments.save(1, RunKey(prompt_index=7, engine_index=0, repetition=0), run.result) == 41
    assert not store._database.rows("SELECT 1 FROM sqlite_master WHERE name LIKE 'old%'")
    assert not store._database.rows("PRAGMA foreign_key_check")
    store._database.run("INSERT INTO run_search (run_search) VALUES ('integrity-check')")
    store.close()


def runs_of(vote: Vote) -> list[str]:
    return [it.run for it in vote.candidates]


def test_copies_of_a_file_that_are_migrated_separately_have_the_same_ids(fifth, tmp_path):
    copy = tmp_path / "copy" / "history.db"
    copy.parent.mkdir()
    shutil.copy(fifth.path, copy)
    ids = []
    for path in (fifth.path, copy):
        store = Store.open(path)
        ids.append([store._database.rows(f"SELECT id FROM {table} ORDER BY id") for table in MERGED])
        store.close()
    assert ids[0] == ids[1]


MERGED = ("conversation", "prompt", "lane", "run", "experiment", "vote", "measurement")
"""The tables whose rows have ids of their own."""


def test_two_files_merge_without_a_clash(fifth, tmp_path):
    """Rows refer to each other by ids only: copying all rows, without their numbers, is all it takes."""
    elsewhere = Store.open(tmp_path / "elsewhere.db")
    writer = ConversationWriter(elsewhere, "elsewhere")
    writer.answer(writer.conversation.prompts[0], writer.lane(LARGE), "A giraffe", manifest=COMMON)
    elsewhere.close()
    store = Store.open(fifth.path)
    before = store.load(1)
    store._database.run("ATTACH ? AS other", str(tmp_path / "elsewhere.db"))
    for _ in range(2):
        with store._database.transaction():
            store._database.run("PRAGMA defer_foreign_keys = ON")
            merge(store)
    store._database.run("DETACH other")
    assert [summary.title for summary in store.conversations()] == ["elsewhere", "chat"]
    (found,) = store.search("giraffe")
    saved = store.load(found.conversation)
    assert [facts(run)[0] for run in saved.runs] == [facts(run)[0] for run in writer.lanes[0].runs]
    assert saved.lanes[0].head is saved.runs[0]
    assert [run.result for run in store.load(1).runs] == [run.result for run in before.runs]
    assert not store._database.rows("PRAGMA foreign_key_check")
    store.close()


def merge(store: Store) -> None:
    """Copy all rows of `other` that the file does not have."""
    for table in (*MERGED, "manifest", "image", "turn", "experiment_prompt", "cell"):
        columns = [
            name
            for _, name, *_ in store._database.rows(f"PRAGMA table_info({table})")
            if name not in ("number", "owner_id")
        ]
        names = ", ".join(columns)
        store._database.run(f"INSERT OR IGNORE INTO {table} ({names}) SELECT {names} FROM other.{table}")


# ── Later versions ─────────────────────────────────────────────────────────────────────────────


def test_a_conversation_of_version_14_was_never_opened(tmp_path):
    path = tmp_path / "history.db"
    old = Database(path, schema_of(14, tmp_path / "schema"))
    for number, title in enumerate(("older", "newer"), 1):
        old.run(
            "INSERT INTO conversation (id, title, created, updated) VALUES (?, ?, 1, ?)", title, title, number
        )
        old.run(
            "INSERT INTO prompt (id, conversation_id, text, for_all, created) VALUES (?, ?, 'x', 1, 1)",
            f"p{number}",
            title,
        )
    old.close()
    with contextlib.closing(Store.open(path)) as store:
        last = store.last_open()
        assert last is not None
        assert (last.title, last.updated) == ("newer", 2.0)


def test_the_cells_of_version_10_keep_their_numbers_and_share_runs_from_then_on(tmp_path):
    path = tmp_path / "history.db"
    old = Database(path, schema_of(10, tmp_path / "schema"))
    old.run(
        "INSERT INTO experiment (id, name, fingerprint, schedule, repetitions, engines, machine, prompts, created)"
        " VALUES ('e', 'colours', 'f', 'swap', 1, '[]', '{}', 2, 1)"
    )
    for number in (3, 9):
        old.run(
            "INSERT INTO run (id, purpose, state, engine, started, result) VALUES (?, 'answer', 'done', 'a', 1, ?)",
            f"r{number}",
            json.dumps({"definition": to_json(SMOL)}),
        )
        old.run(
            "INSERT INTO cell (number, experiment_id, prompt_index, engine_index, repetition, run_id, assertions)"
            " VALUES (?, 'e', ?, 0, 0, ?, '[1]')",
            number,
            number,
            f"r{number}",
        )
    old.run("DELETE FROM cell WHERE number = 9")
    old.run("INSERT INTO measurement (id, kind, engines, data, created) VALUES ('m', 'bench', '[]', '{}', 1)")
    old.close()
    with contextlib.closing(Store.open(path)) as store:
        (run,) = store.experiments.runs(1)
        assert (run.number, run.key, run.result.id, run.assertions) == (3, RunKey(3, 0, 0), "r3", (1,))
        assert store.experiments.save(1, RunKey(4, 0, 0), dataclasses.replace(run.result, id="new")) == 10
        digests = Digests(asked="x", checked="y")
        assert store.experiments.known(1, {RunKey(5, 0, 0): digests}, 0.0) == []
        taken = KnownRun(RunKey(5, 0, 0), digests, None, "r3", ())
        store.experiments.take(1, [taken])
        store._database.run("DELETE FROM cell WHERE number = 3")
        assert [run.result.id for run in store.experiments.runs(1)] == ["new", "r3"]
        assert [measurement.id for measurement in store.measurements.all("bench")] == ["m"]
        assert not store._database.rows("PRAGMA foreign_key_check")
    assert path.with_name("history.db.v10.bak").exists()
