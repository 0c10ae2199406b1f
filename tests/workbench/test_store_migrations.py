import contextlib
import json
import shutil
import sqlite3
import stat

import pytest
from tests.workbench.conversation_writer import SMOL, ConversationWriter, facts

from paragone import Image, ParagoneError
from paragone.wire import to_json
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.store import SavedConversation, Store, StoreError
from paragone_workbench.store._database import MIGRATIONS, Database


@pytest.fixture
def migrations(tmp_path):
    """A folder with only the first migration, for tests to add more."""
    (tmp_path / "migrations").mkdir()
    shutil.copy(MIGRATIONS / "0001_first.sql", tmp_path / "migrations")
    return tmp_path / "migrations"


@pytest.fixture
def old(tmp_path, migrations):
    """A history from an older version of the program."""
    path = tmp_path / "history.db"
    database = Database(path, migrations)
    database.run("INSERT INTO conversation (title, created, updated) VALUES ('old', 1, 1)")
    database.close()
    return path


def version(path):
    raw = sqlite3.connect(path)
    number = raw.execute("PRAGMA user_version").fetchone()[0]
    raw.close()
    return number


def test_numbers_begin_at_one_without_gaps():
    names = sorted(path.name for path in MIGRATIONS.iterdir())
    assert [name[:5] for name in names] == [f"{number:04}_" for number in range(1, len(names) + 1)]


def test_a_new_file_gets_all_migrations(tmp_path, migrations):
    (migrations / "0002_more.sql").write_text("CREATE TABLE more (x);\nCREATE TABLE yet_more (x)  -- the end")
    Database(tmp_path / "history.db", migrations).close()
    assert version(tmp_path / "history.db") == 2
    assert not list(tmp_path.glob("*.bak"))


def test_an_older_file_is_copied_and_migrated(old, migrations):
    (migrations / "0002_more.sql").write_text("ALTER TABLE conversation ADD COLUMN more TEXT;")
    (migrations / "0003_trigger.sql").write_text(
        "CREATE TRIGGER t AFTER INSERT ON lane BEGIN\n  SELECT 1;\n  SELECT 2;\nEND;\n"
    )
    database = Database(old, migrations)
    assert database.rows("SELECT title, more FROM conversation") == [("old", None)]
    database.close()
    backup = old.with_name("history.db.v1.bak")
    assert (version(old), version(backup)) == (3, 1)
    assert stat.S_IMODE(backup.stat().st_mode) == 0o600
    raw = sqlite3.connect(backup)
    assert raw.execute("SELECT title FROM conversation").fetchall() == [("old",)]
    raw.close()


def test_a_migration_that_fails_changes_nothing(old, migrations):
    (migrations / "0002_more.sql").write_text("ALTER TABLE conversation ADD COLUMN more TEXT;")
    (migrations / "0003_broken.sql").write_text("ALTER TABLE nowhere ADD COLUMN x;")
    with pytest.raises(StoreError, match="nowhere"):
        Database(old, migrations)
    assert version(old) == 1
    (migrations / "0003_broken.sql").unlink()
    (migrations / "0002_more.sql").unlink()
    database = Database(old, migrations)
    assert database.rows("SELECT * FROM conversation") == [(1, "old", "", 1.0, 1.0)]
    database.close()


def test_a_history_without_images_gets_a_table_for_them(old):
    with contextlib.closing(sqlite3.connect(old)) as raw, raw:
        raw.execute("INSERT INTO prompt (conversation_id, text, created) VALUES (1, 'hello', 1)")
    store = Store.open(old)
    image = Image(data="AAEC", media_type="image/png", name="cat.png")
    writer = ConversationWriter(store)
    writer.conversation = store.load(1).conversation
    prompt = writer.prompt("and this?", writer.conversation.prompts[0], images=(image, image))
    assert [(it.text, it.images) for it in store.load(1).conversation.prompts] == [
        ("hello", ()),
        ("and this?", (image, image)),
    ]
    store.delete_conversation(1)
    store.close()
    with contextlib.closing(sqlite3.connect(old)) as raw:
        assert prompt.id == 2
        assert raw.execute("SELECT count(*) FROM image").fetchone() == (0,)


# ── From the second version, whose conversations were a line of prompts ──────────────────────────

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
    """A history from the second version."""

    def __init__(self, path, migrations) -> None:
        shutil.copy(MIGRATIONS / "0002_images.sql", migrations)
        self.path = path
        self.database = Database(path, migrations)

    def insert(self, table: str, **values) -> int:
        sql = f"INSERT INTO {table} ({', '.join(values)}) VALUES ({', '.join('?' * len(values))})"
        return self.database.run(sql, *values.values())

    def conversation(self, system: str = "") -> int:
        return self.insert("conversation", title="old", system=system, created=1, updated=2)

    def lane(self, conversation: int, name: str, closed: bool = False) -> int:
        definition = {"name": name, "backend": "paper", "model": "m", "options": {"n_ctx": 8}}
        return self.insert(
            "lane",
            conversation_id=conversation,
            position=self.database.rows("SELECT count(*) FROM lane")[0][0],
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
def second(tmp_path, migrations):
    old = Old(tmp_path / "history.db", migrations)
    yield old
    old.database.close()


def table(path, name) -> dict[int, dict[str, object]]:
    with contextlib.closing(sqlite3.connect(path)) as raw:
        raw.row_factory = sqlite3.Row
        return {row["id"]: dict(row) for row in raw.execute(f"SELECT * FROM {name}")}


def paths(saved: SavedConversation) -> dict[int, list[tuple[int, int]]]:
    """Return the prompt and the run of each step of every lane's path."""
    steps: dict[int, list[tuple[int, int]]] = {}
    for lane in saved.lanes:
        steps[lane.id] = []
        run = lane.head
        while run is not None:
            steps[lane.id].insert(0, (run.prompt.id, run.id))
            run = run.continues
    return steps


def test_a_migration_from_the_second_version_keeps_everything_and_the_lanes_paths(second):
    chat = second.conversation(system="Be brief.")
    left, right = second.lane(chat, "left"), second.lane(chat, "right")
    gone, silent = second.lane(chat, "gone", closed=True), second.lane(chat, "silent")
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
    second.database.close()

    store = Store.open(second.path)
    before = second.path.with_name("history.db.v2.bak")
    seen = {conversation: paths(store.load(conversation)) for conversation in (chat, branches)}
    with contextlib.closing(sqlite3.connect(before)) as raw:
        for conversation, lanes in seen.items():
            for lane_id, steps in lanes.items():
                shown = raw.execute(OLD_PATH, {"id": conversation, "lane": lane_id}).fetchall()
                assert steps == [(prompt, run) for prompt, run in shown if run is not None], lane_id
    assert [len(steps) for steps in seen[chat].values()] == [3, 2, 1, 0]
    saved = store.load(chat)
    assert [lane.closed for lane in saved.lanes] == [False, False, True, False]
    assert saved.lanes[3].id == silent
    assert saved.lanes[2].head.error.sentence == "It broke. Mend it."
    assert saved.lanes[2].head.definition.options == {}
    assert saved.lanes[0].head.definition.options == {"n_ctx": 8}
    last = saved.lanes[1].head
    assert (last.id, last.text, last.thinking) == (killed, "as far as it came", "hm hm ")
    assert (last.state, last.ended) == ("interrupted", None)
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
    assert {hit.run_id for hit in store.search("second try")} == {chosen}
    store.close()

    for name in ("conversation", "lane", "prompt", "image", "run"):
        rows, old_rows = table(second.path, name), table(before, name)
        assert rows.keys() == old_rows.keys()
        for row_id, old_row in old_rows.items():
            changed = {"system"} if name == "conversation" else set()
            if row_id == killed and name == "run":
                changed = {"state", "text", "thinking", "owner_id"}
            kept = {column: value for column, value in old_row.items() if column not in changed}
            assert {column: rows[row_id].get(column) for column in kept} == kept


def test_a_run_continues_only_earlier_runs(second):
    chat = second.conversation()
    lane = second.lane(chat, "left")
    one = second.prompt(chat, "one")
    two = second.prompt(chat, "two", one)
    early = second.run(two, lane, "before the first was answered")
    late = second.run(one, lane, "the first")
    last = second.run(two, lane, "after it")
    second.database.close()
    store = Store.open(second.path)
    assert {run.id: run.continues and run.continues.id for run in store.load(chat).runs} == {
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
    second.database.close()
    store = Store.open(second.path)
    assert store.load(chat).lanes[0].head.id == last
    store.close()


def test_a_migrated_conversation_can_be_continued(second):
    chat = second.conversation()
    lane_id = second.lane(chat, "left")
    second.run(second.prompt(chat, "one"), lane_id, "yes")
    second.database.close()
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


def test_a_long_conversation_is_migrated_in_linear_time(second):
    """The search for the previous run ends at the first prompt above."""
    chat = second.conversation()
    lane_id = second.lane(chat, "left")
    last = None
    with second.database.transaction():
        for number in range(15_000):
            last = second.prompt(chat, f"{number}", last)
            second.run(last, lane_id, "yes", thinking="")
    second.database.close()
    store = Store.open(second.path)
    assert len(paths(store.load(chat))[lane_id]) == 15_000
    store.close()
