import sqlite3
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from paragone import InputError, LoadedModel, ParagoneError, RunRequest
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.paths import history_file
from paragone_workbench.runs.manifest import manifest
from paragone_workbench.runs.metrics import Percentiles, RunMetrics
from paragone_workbench.store import Store, StoreError

SMOL = EngineDefinition(name="smol", backend="paper", model="/m/smol", options={"n_ctx": 8})
LARGE = EngineDefinition(name="large", backend="paper", model="/m/large")
METRICS = RunMetrics(ttft_s=0.5, itl_ms=Percentiles(p50=1.0), completion_tokens=3)


@pytest.fixture
def store():
    store = Store.open()
    yield store
    store.close()


def answer(store, prompt, lane, text, *, definition=SMOL, thinking="", state="done"):
    run = store.start_run(prompt_id=prompt, lane_id=lane, definition=definition, manifest={"seed": 1})
    store.append_run(run, text=text, thinking=thinking)
    store.end_run(run, state, finish="stop", metrics=METRICS)
    return run


def test_a_password_in_a_url_is_not_kept(store):
    """The lane is there, though its engine may not open with such a URL."""
    box = EngineDefinition(
        name="box", backend="paper", model="m", options={"url": "https://me:s3cret@box/v1"}
    )
    conversation = store.new_conversation()
    lane = store.add_lane(conversation, box, position=0)
    store.set_lane_engine(store.add_lane(conversation, SMOL, position=1), box)
    prompt = store.add_prompt(conversation, "Hello", parent_id=None)
    loaded, request = LoadedModel(name="m"), RunRequest(messages=())
    store.start_run(prompt_id=prompt, lane_id=lane, definition=box, manifest=manifest(box, loaded, request))
    lanes = store.load(conversation).lanes
    assert [kept.definition.options for kept in lanes] == [{"url": "https://box/v1"}] * 2
    store.close()
    assert not [
        path for path in history_file().parent.iterdir() if path.is_file() and b"s3cret" in path.read_bytes()
    ]


def test_a_conversation_comes_back_whole(store):
    conversation = store.new_conversation(system="Be brief.")
    left = store.add_lane(conversation, SMOL, position=0)
    right = store.add_lane(conversation, LARGE, position=1)
    first = store.add_prompt(conversation, "Hello\nthere", parent_id=None)
    answer(store, first, left, "Hi.", thinking="A greeting.")
    run = store.start_run(prompt_id=first, lane_id=right, definition=LARGE, manifest={})
    store.append_run(run, text="He")
    store.end_run(run, "failed", error="It broke.")
    second = store.add_prompt(conversation, "And?", parent_id=first)
    answer(store, second, left, "Nothing.")

    saved = store.load(conversation)
    assert (saved.title, saved.system) == ("Hello", "Be brief.")
    assert saved.created <= saved.updated
    assert [prompt.text for prompt in saved.prompts] == ["Hello\nthere", "And?"]
    assert saved.prompts[1].parent_id == first
    one, two = saved.lanes
    assert (one.definition, two.definition) == (SMOL, LARGE)
    done = one.turns[0].run
    assert (done.text, done.thinking, done.state, done.finish) == ("Hi.", "A greeting.", "done", "stop")
    assert (done.engine, done.backend, done.model) == ("smol", "paper", "/m/smol")
    assert (done.manifest, done.metrics, done.error) == ({"seed": 1}, METRICS, "")
    assert done.started <= done.ended
    failed = two.turns[0].run
    assert (failed.text, failed.state, failed.error, failed.metrics) == ("He", "failed", "It broke.", None)
    assert one.turns[1].run.text == "Nothing."
    assert two.turns[1].run is None


def test_it_is_there_after_closing(store):
    conversation = store.new_conversation()
    store.add_prompt(conversation, "Kept", parent_id=None)
    store.close()
    again = Store.open()
    assert again.load(conversation).title == "Kept"
    assert again.warning == ""
    again.close()


def test_files_are_the_users_alone(store):
    store.new_conversation()
    files = [path for path in history_file().parent.rglob("*") if path.is_file()]
    assert len(files) >= 4  # the database, its two companions, and locks
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(history_file().parent.stat().st_mode) == 0o700


def test_a_running_run_shows_what_it_has_said(store):
    conversation = store.new_conversation()
    lane = store.add_lane(conversation, SMOL, position=0)
    prompt = store.add_prompt(conversation, "x", parent_id=None)
    run = store.start_run(prompt_id=prompt, lane_id=lane, definition=SMOL, manifest={})
    for piece in ("one ", "two ", "three"):
        store.append_run(run, text=piece, thinking=piece.upper())
    store.append_run(run)
    saved = store.load(conversation).lanes[0].turns[0].run
    assert (saved.text, saved.thinking, saved.state) == ("one two three", "ONE TWO THREE", "running")
    store.end_run(run, "stopped", finish="cancelled")
    store.append_run(run, text="too late")
    store.end_run(run, "failed", error="again")
    saved = store.load(conversation).lanes[0].turns[0].run
    assert (saved.text, saved.state, saved.finish, saved.error) == (
        "one two three",
        "stopped",
        "cancelled",
        "",
    )


def test_a_regenerated_answer_keeps_the_earlier_one(store):
    conversation = store.new_conversation()
    lane = store.add_lane(conversation, SMOL, position=0)
    prompt = store.add_prompt(conversation, "x", parent_id=None)
    answer(store, prompt, lane, "early bird")
    store.set_lane_engine(lane, LARGE)
    later = answer(store, prompt, lane, "late bird", definition=LARGE)
    saved = store.load(conversation).lanes[0]
    assert saved.definition == LARGE
    assert saved.turns[0].run.id == later
    assert {hit.snippet for hit in store.search("bird")} == {"early bird", "late bird"}


def test_the_newest_branch_is_loaded(store):
    conversation = store.new_conversation()
    first = store.add_prompt(conversation, "1", parent_id=None)
    store.add_prompt(conversation, "2", parent_id=first)
    store.add_prompt(conversation, "2 again", parent_id=first)
    assert [prompt.text for prompt in store.load(conversation).prompts] == ["1", "2 again"]


def test_lanes_keep_their_order_and_closed_ones_say_so(store):
    conversation = store.new_conversation()
    right = store.add_lane(conversation, LARGE, position=1)
    store.add_lane(conversation, SMOL, position=0)
    store.close_lane(right)
    store.add_prompt(conversation, "x", parent_id=None)
    assert [(lane.definition.name, lane.closed) for lane in store.load(conversation).lanes] == [
        ("smol", False),
        ("large", True),
    ]
    assert store.conversations()[0].engines == ("smol",)


def test_the_list_of_conversations(store):
    ids = []
    for n in range(5):
        conversation = store.new_conversation()
        lane = store.add_lane(conversation, SMOL, position=0)
        prompt = store.add_prompt(conversation, f"Number {n}", parent_id=None)
        answer(store, prompt, lane, "x")
        ids.append(conversation)
    store.new_conversation()  # nothing was ever asked in it
    last = store.add_prompt(ids[0], "more", parent_id=None)
    assert last
    listed = store.conversations()
    assert [summary.id for summary in listed] == [ids[0], *reversed(ids[1:])]
    assert (listed[0].title, listed[0].prompts, listed[0].engines) == ("Number 0", 2, ("smol",))
    paged = store.conversations(limit=2)
    paged += store.conversations(limit=2, before=paged[-1])
    paged += store.conversations(limit=2, before=paged[-1])
    assert paged == listed


@pytest.mark.parametrize(
    ("prompt", "title"),
    [
        ("Hello", "Hello"),
        ("\n\n  First line  \nsecond", "First line"),
        ("x" * 200, "x" * 79 + "…"),
        ("  \n", ""),
    ],
)
def test_the_title_is_the_first_line_that_says_something(store, prompt, title):
    conversation = store.new_conversation()
    store.add_prompt(conversation, prompt, parent_id=None)
    assert store.load(conversation).title == title
    store.add_prompt(conversation, "Later", parent_id=None)
    assert store.load(conversation).title == (title or "Later")


def test_a_deleted_conversation_is_gone_with_all_that_was_in_it(store):
    conversation = store.new_conversation()
    lane = store.add_lane(conversation, SMOL, position=0)
    prompt = store.add_prompt(conversation, "findable question", parent_id=None)
    answer(store, prompt, lane, "findable answer")
    running = store.start_run(prompt_id=prompt, lane_id=lane, definition=SMOL, manifest={})
    store.append_run(running, text="more")
    store.delete_conversation(conversation)
    assert store.search("findable") == ()
    assert store.conversations() == ()
    with pytest.raises(InputError, match="deleted"):
        store.load(conversation)
    # what comes late for it is let go where nothing can be done, and told where something can
    store.append_run(running, text="late")
    store.end_run(running, "done")
    with pytest.raises(StoreError, match="is gone"):
        store.add_prompt(conversation, "x", parent_id=None)
    with pytest.raises(StoreError, match="is gone"):
        store.start_run(prompt_id=prompt, lane_id=lane, definition=SMOL, manifest={})
    assert store.new_conversation() != conversation
    with sqlite3.connect(history_file()) as raw:
        for table in ("lane", "prompt", "run", "piece"):
            assert raw.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
        raw.execute("INSERT INTO run_search (run_search) VALUES ('integrity-check')")
    raw.close()


def test_votes_have_their_place_in_the_schema(store):
    conversation = store.new_conversation()
    lane = store.add_lane(conversation, SMOL, position=0)
    prompt = store.add_prompt(conversation, "x", parent_id=None)
    run = answer(store, prompt, lane, "y")
    with sqlite3.connect(history_file()) as raw:
        raw.execute("INSERT INTO vote (prompt_id, run_id, created) VALUES (?, ?, 1)", (prompt, run))
        raw.execute("INSERT INTO vote (prompt_id, run_id, created) VALUES (?, NULL, 1)", (prompt,))
    raw.close()
    store.delete_conversation(conversation)


def test_saving_a_piece_costs_its_own_length(store):
    conversation = store.new_conversation()
    lane = store.add_lane(conversation, SMOL, position=0)
    prompt = store.add_prompt(conversation, "x", parent_id=None)
    run = store.start_run(prompt_id=prompt, lane_id=lane, definition=SMOL, manifest={})
    store.append_run(run, text="x" * 3_000_000)
    wal = history_file().with_name("history.db-wal")
    with sqlite3.connect(history_file()) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()
    for _ in range(10):
        store.append_run(run, text="y" * 100)
    assert wal.stat().st_size < 500_000
    store.end_run(run, "done")
    assert len(store.load(conversation).lanes[0].turns[0].run.text) == 3_001_000


def test_a_full_disk_is_told_and_passes(store):
    conversation = store.new_conversation()
    lane = store.add_lane(conversation, SMOL, position=0)
    prompt = store.add_prompt(conversation, "x", parent_id=None)
    run = store.start_run(prompt_id=prompt, lane_id=lane, definition=SMOL, manifest={})
    store.append_run(run, text="before ")
    database = store._database
    pages = database.rows("PRAGMA page_count")[0][0]
    database.run(f"PRAGMA max_page_count = {pages}")  # as if the disk ended here
    with pytest.raises(StoreError, match="the disk is full"):
        store.append_run(run, text="x" * 100_000)
    with pytest.raises(StoreError, match="the disk is full"):
        store.add_prompt(conversation, "x" * 100_000, parent_id=prompt)
    database.run("PRAGMA max_page_count = 1000000")
    store.append_run(run, text="after")
    store.end_run(run, "done")
    assert store.load(conversation).lanes[0].turns[0].run.text == "before after"


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@settings(max_examples=50, deadline=None)
@given(
    TEXT, st.lists(st.tuples(TEXT, TEXT), max_size=5), st.dictionaries(TEXT, TEXT | st.integers(), max_size=3)
)
def test_any_text_comes_back_as_it_was(tmp_path_factory, prompt_text, pieces, manifest):
    store = Store.open(tmp_path_factory.getbasetemp() / "any/history.db")
    try:
        conversation = store.new_conversation(system=prompt_text)
        lane = store.add_lane(conversation, SMOL, position=0)
        prompt = store.add_prompt(conversation, prompt_text, parent_id=None)
        run = store.start_run(prompt_id=prompt, lane_id=lane, definition=SMOL, manifest=manifest)
        for text, thinking in pieces:
            store.append_run(run, text=text, thinking=thinking)
        for ended in (False, True):
            if ended:
                store.end_run(run, "done", error=prompt_text)
            saved = store.load(conversation)
            assert (saved.system, saved.prompts[0].text) == (prompt_text, prompt_text)
            turn = saved.lanes[0].turns[0].run
            assert turn.text == "".join(text for text, _ in pieces)
            assert turn.thinking == "".join(thinking for _, thinking in pieces)
            assert turn.manifest == manifest
        assert turn.error == prompt_text
    finally:
        store.close()


def test_half_a_surrogate_pair_stops_nothing(store):
    conversation = store.new_conversation()
    lane = store.add_lane(conversation, SMOL, position=0)
    prompt = store.add_prompt(conversation, "a\ud83d", parent_id=None)
    answer(store, prompt, lane, "b\ude00 \ud83d\ude00")
    saved = store.load(conversation)
    assert saved.prompts[0].text == "a�"
    assert saved.lanes[0].turns[0].run.text == "b� 😀"
    assert store.search("\ud83d") == store.search("�")


# ── The file ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("content", [b"This is a letter, not a database. " * 100, b"\0" * 5000])
def test_a_file_that_is_no_database_is_set_aside_and_told(content):
    history_file().parent.mkdir(parents=True)
    history_file().write_bytes(content)
    store = Store.open()
    assert "history.db.bad" in store.warning
    assert history_file().with_name("history.db.bad").read_bytes() == content
    store.new_conversation()
    store.close()
    history_file().write_bytes(content)
    store = Store.open()
    assert "history.db.bad-2" in store.warning
    store.close()


def test_a_file_cut_short_is_set_aside(store):
    for n in range(20):
        store.add_prompt(store.new_conversation(), f"{n} " * 5000, parent_id=None)
    store.close()
    whole = history_file().read_bytes()
    history_file().write_bytes(whole[: len(whole) // 2])
    again = Store.open()
    assert "history.db.bad" in again.warning
    assert again.conversations() == ()
    again.close()


def test_damage_found_later_is_told(store):
    for n in range(20):
        store.add_prompt(store.new_conversation(), f"{n} " * 5000, parent_id=None)
    store.close()
    whole = bytearray(history_file().read_bytes())
    middle = len(whole) // 2
    whole[middle:] = b"\xff" * (len(whole) - middle)
    history_file().write_bytes(whole)
    with pytest.raises(ParagoneError, match="damaged"):  # noqa: PT012 - wherever it shows first
        again = Store.open()
        try:
            for summary in again.conversations():
                again.load(summary.id)
            again.search("19")
        finally:
            again.close()


def test_a_place_that_cannot_be_used_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ParagoneError, match="cannot be made"):
        Store.open(tmp_path / "file/history.db")
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(StoreError, match="cannot be opened"):
        Store.open(tmp_path / "folder.db")


def test_a_read_only_file_is_told(store, monkeypatch):
    store.close()
    connect = sqlite3.connect
    # the tests may run as root, whom no mode stops: SQLite itself is told to keep off
    monkeypatch.setattr(
        sqlite3, "connect", lambda path, **options: connect(f"file:{path}?mode=ro", uri=True, **options)
    )
    with pytest.raises(StoreError, match="may not be written to"):
        Store.open()


def test_a_newer_schema_is_refused_and_left_alone(store):
    store.close()
    with sqlite3.connect(history_file()) as raw:
        raw.execute("PRAGMA user_version = 99")
    raw.close()
    before = history_file().read_bytes()
    with pytest.raises(InputError, match="newer version"):
        Store.open()
    assert history_file().read_bytes() == before
    assert not list(history_file().parent.glob("*.bad*"))
    assert not any(history_file().with_name("history.db.owners").iterdir())
