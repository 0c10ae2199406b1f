import sqlite3
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.workbench.conftest import Paper
from tests.workbench.written import LARGE, SMOL, Written, facts

from paragone import (
    Alternative,
    Caution,
    Image,
    InputError,
    LoadedModel,
    ParagoneError,
    RunRequest,
    RunSettings,
    Token,
)
from paragone.wire import to_json
from paragone_workbench.conversation.tree import Prompt
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.paths import history_file
from paragone_workbench.runs.manifest import manifest
from paragone_workbench.runs.metrics import Percentiles, RunMetrics
from paragone_workbench.store import ConversationDeleted, Store, StoreError

METRICS = RunMetrics(ttft_s=0.5, itl_ms=Percentiles(p50=1.0), completion_tokens=3)
MANIFEST = {"engine": to_json(SMOL), "loaded": to_json(LoadedModel(name="Smol", context=8)), "seed": 1}


@pytest.fixture
def store():
    store = Store.open()
    yield store
    store.close()


def test_a_password_in_a_url_is_not_kept(store):
    """The lane is there, though its engine may not open with such a URL."""
    box = EngineDefinition(
        name="box", backend="paper", model="m", options={"url": "https://me:s3cret@box/v1"}
    )
    written = Written(store, "Hello")
    lane = written.lane(box)
    written.change(written.lane(SMOL), definition=box)
    known = manifest(box, Paper(), LoadedModel(name="m"), RunRequest(messages=()))
    run = written.start(written.conversation.prompts[0], lane, manifest=known)
    error = ParagoneError("https://me:s3cret@box/v1 is not there.", hint="Try http://me:s3cret@box/v1.")
    written.end(run, lane, "failed", error=error)
    saved = written.load()
    assert [kept.definition.options for kept in saved.lanes] == [{"url": "https://box/v1"}] * 2
    assert saved.runs[0].definition.options == {"url": "https://box/v1"}
    assert str(saved.runs[0].error) == "https://box/v1 is not there. Try http://box/v1."
    store.close()
    assert not [
        path for path in history_file().parent.iterdir() if path.is_file() and b"s3cret" in path.read_bytes()
    ]


def test_a_conversation_comes_back_whole(store):
    image = Image(data="AAEC", media_type="image/png", name="cat.png")
    written = Written(store)
    first = written.prompt("Hello\nthere", system="Be brief.", sampling={"seed": 1}, images=(image, image))
    left, right = written.lane(SMOL), written.lane(LARGE)
    one = written.start(first, left, manifest=MANIFEST)
    written.add(one, "Hi.", "A greeting.")
    written.end(
        one,
        left,
        finish="stop",
        metrics=METRICS,
        settings=RunSettings(seed=7, sampling={"top_k": 40}, prompt="<s>Hello", threads=2),
        cautions=[Caution(code="no-chat-template", sentence="It has none.")],
    )
    other = written.start(first, right)
    written.add(other, "He")
    written.end(other, right, "failed", error=ParagoneError("It broke.", hint="Mend it."))
    second = written.prompt("And?", first, system="")
    written.answer(second, left, "Nothing.")

    saved = written.load()
    assert saved.title == "Hello"
    assert saved.conversation.id == written.id
    assert saved.conversation.created == written.conversation.created <= saved.updated
    prompts = saved.conversation.prompts
    assert [(it.id, it.text, it.created) for it in prompts] == [
        (it.id, it.text, it.created) for it in written.conversation.prompts
    ]
    assert [it.images for it in prompts] == [(image, image), ()]
    assert [it.parent for it in prompts] == [None, prompts[0]]
    assert [(it.system, it.sampling) for it in prompts] == [("Be brief.", {"seed": 1}), ("", None)]
    assert [it.system_in_force for it in prompts] == ["Be brief.", ""]
    assert prompts[1].sampling_in_force == {"seed": 1}
    assert [(it.id, it.definition, it.position, it.closed) for it in saved.lanes] == [
        (left.id, SMOL, 0, False),
        (right.id, LARGE, 1, False),
    ]
    for lane, kept in zip((left, right), saved.lanes, strict=True):
        assert list(map(facts, kept.runs)) == list(map(facts, lane.runs))
        assert facts(kept.head) == facts(lane.head)
    assert saved.lanes[0].head is saved.lanes[0].runs[1]
    assert saved.lanes[0].head.continues is saved.lanes[0].runs[0]
    assert [run.id for run in saved.runs] == sorted(run.id for lane in (left, right) for run in lane.runs)
    assert {run.phase for run in saved.runs} == {"ended"}
    assert saved.runs[0].loaded == LoadedModel(name="Smol", context=8)


def test_what_a_save_gives_ids_to_is_new(store):
    written = Written(store)
    prompt = written.conversation.add(Prompt(text="x"))
    written.save(prompts=(prompt,))
    conversation_id, prompt_id = written.id, prompt.id
    written.save(prompts=(prompt,))
    assert (written.id, prompt.id) == (conversation_id, prompt_id)
    assert len(written.load().conversation.prompts) == 1


def test_a_batch_is_saved_as_a_whole_or_not_at_all(store):
    written = Written(store, "x")
    lane = written.lane()
    good = written.conversation.add(Prompt(text="good"))
    bad = Prompt(text="its image is none", images=(Image(data="A", media_type="image/png"),))
    with pytest.raises(ValueError, match="base64"):
        written.save(prompts=(good, bad))
    assert good.id is None
    assert [it.text for it in written.load().conversation.prompts] == ["x"]
    written.answer(written.prompt("y"), lane, "works")


def test_tokens_come_back_as_they_were(store):
    tokens = [
        Token(text="a\ud83d", channel="thinking", id=5, logprob=-0.1, time=1.25),
        Token(text="", time=1.5),
        Token(
            text="é",
            id=0,
            logprob=float("-inf"),
            top=(Alternative(text="é", id=0, logprob=-1e-9), Alternative(text="x", logprob=-7.5)),
            n_bytes=2,
            time=2.0,
        ),
        *(Token(text=f"{number}\n", time=3.0 + number) for number in range(1000)),
    ]
    written = Written(store, "x")
    lane = written.lane()
    run = written.start(written.conversation.prompts[0], lane)
    written.end(run, lane, tokens=tokens, settings=RunSettings(prompt="<s>x", prompt_ids=(1, 2)))
    (saved,) = written.load().runs
    assert saved.tokens == tokens
    assert saved.settings == RunSettings(prompt="<s>x")
    ((data,),) = store._database.rows("SELECT data FROM token")
    assert isinstance(data, bytes)
    written.answer(written.conversation.prompts[0], lane, "without")
    assert store._database.rows("SELECT count(*) FROM token") == [(1,)]


def test_it_is_there_after_closing(store):
    written = Written(store, "Kept")
    store.close()
    again = Store.open()
    assert again.load(written.id).title == "Kept"
    assert again.warning == ""
    again.close()


def test_files_are_the_users_alone(store):
    Written(store, "x")
    files = [path for path in history_file().parent.rglob("*") if path.is_file()]
    assert len(files) >= 4  # the database, its two companions, and locks
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(history_file().parent.stat().st_mode) == 0o700


def test_a_running_run_shows_what_it_has_written(store):
    written = Written(store, "x")
    lane = written.lane()
    run = written.start(written.conversation.prompts[0], lane)
    for piece in ("one ", "two ", "three"):
        written.add(run, piece, piece.upper())
    written.write(run, lane)  # a caution came, say
    (saved,) = written.load().runs
    assert (saved.text, saved.thinking, saved.state) == ("one two three", "ONE TWO THREE", "interrupted")
    assert (saved.phase, saved.ended) == ("ended", None)
    assert store._database.rows("SELECT state FROM run") == [("running",)]
    written.end(run, lane, "stopped", finish="cancelled")
    (saved,) = written.load().runs
    assert facts(saved) == facts(run)
    assert store._database.rows("SELECT * FROM piece") == []


def test_a_run_that_was_taken_for_dead_ends_whole(store):
    """Another copy of the program marks it if this one's lock file is deleted."""
    written = Written(store, "x")
    lane = written.lane()
    run = written.start(written.conversation.prompts[0], lane)
    written.add(run, "one ")
    for path in history_file().with_name("history.db.owners").iterdir():
        path.unlink()
    Store.open().close()
    assert store._database.rows("SELECT state, text FROM run") == [("interrupted", "one ")]
    written.add(run, "two ")
    written.write(run, lane)
    written.add(run, "three")
    assert written.load().runs[0].text.startswith("one ")
    written.end(run, lane)
    assert facts(written.load().runs[0]) == facts(run)


def test_variants_are_kept_and_the_selected_path_is_stored(store):
    written = Written(store)
    first = written.prompt("1")
    lane, other = written.lane(), written.lane(LARGE)
    early = written.answer(first, lane, "early bird")
    beside = written.answer(first, other, "beside")
    late = written.answer(first, lane, "late bird", continues=None)
    edited = written.prompt("1 again")
    again = written.answer(edited, lane, "other branch", continues=None)
    forked = written.answer(written.prompt("2", first), lane, "of the other lane's", continues=beside)
    for head in (early, late, again, forked, None):
        written.change(lane, head=head)
        saved = written.load()
        assert facts(saved.lanes[0].head) == facts(head)
    assert list(map(facts, saved.lanes[0].runs)) == list(map(facts, [early, late, again, forked]))
    assert saved.runs[4].continues is saved.lanes[1].head
    parents = {it.text: it.parent.text if it.parent else None for it in saved.conversation.prompts}
    assert parents == {"1": None, "1 again": None, "2": "1"}
    assert {hit.snippet for hit in store.search("bird")} == {"early bird", "late bird"}


def test_lanes_keep_their_order_and_closed_ones_say_so(store):
    written = Written(store, "x")
    right = written.lane(LARGE, position=1)
    written.lane(SMOL, position=0)
    written.change(right, closed=True)
    assert [(lane.definition.name, lane.closed) for lane in written.load().lanes] == [
        ("smol", False),
        ("large", True),
    ]
    assert store.conversations()[0].engines == ("smol",)


def test_the_list_of_conversations(store):
    all_written = []
    for n in range(5):
        written = Written(store, f"Number {n}")
        written.answer(written.conversation.prompts[0], written.lane(), "x")
        all_written.append(written)
    first, *others = all_written
    Written(store).save()  # nothing was ever asked in it
    first.prompt("more")
    listed = store.conversations()
    assert [summary.id for summary in listed] == [it.id for it in (first, *reversed(others))]
    assert (listed[0].title, listed[0].prompts, listed[0].engines) == ("Number 0", 2, ("smol",))
    assert listed[0].updated == first.conversation.prompts[1].created
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
    written = Written(store, prompt)
    assert written.load().title == title
    written.prompt("Later")
    assert written.load().title == (title or "Later")


def test_a_deleted_conversation_is_gone_with_all_that_was_in_it(store):
    written = Written(store, "findable question")
    (prompt,) = written.conversation.prompts
    lane = written.lane()
    run = written.answer(prompt, lane, "findable answer")
    written.end(run, lane, tokens=[Token(text="x", time=1.0)])
    running = written.start(prompt, lane, continues=run)
    written.add(running, "more")
    old = written.id
    store.delete_conversation(old)
    assert store.search("findable") == ()
    assert store.conversations() == ()
    with pytest.raises(InputError, match="deleted"):
        written.load()
    with pytest.raises(ConversationDeleted, match="was deleted"):
        written.add(running, "late")
    with pytest.raises(ConversationDeleted, match="was deleted"):
        written.prompt("x")
    assert Written(store, "x").id != old
    with sqlite3.connect(history_file()) as raw:
        for table in ("lane", "run", "piece", "token"):
            assert raw.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
        raw.execute("INSERT INTO run_search (run_search) VALUES ('integrity-check')")
    raw.close()


def test_saving_a_piece_costs_its_own_length(store):
    written = Written(store, "x")
    lane = written.lane()
    run = written.start(written.conversation.prompts[0], lane)
    written.add(run, "x" * 3_000_000)
    wal = history_file().with_name("history.db-wal")
    with sqlite3.connect(history_file()) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()
    for _ in range(10):
        written.add(run, "y" * 100)
    assert wal.stat().st_size < 500_000
    written.end(run, lane)
    assert len(written.load().runs[0].text) == 3_001_000


def test_a_full_disk_is_told_and_passes(store):
    written = Written(store, "x")
    lane = written.lane()
    run = written.start(written.conversation.prompts[0], lane)
    written.add(run, "before ")
    database = store._database
    pages = database.rows("PRAGMA page_count")[0][0]
    database.run(f"PRAGMA max_page_count = {pages}")  # as if the disk ended here
    with pytest.raises(StoreError, match="the disk is full") as full:
        written.prompt("x" * 100_000)
    assert full.value.can_pass
    database.run("PRAGMA max_page_count = 1000000")
    written.add(run, "after")
    written.end(run, lane)
    assert written.load().runs[0].text == "before after"


TEXT = st.text(st.characters(exclude_categories=["Cs"]))


@settings(max_examples=50, deadline=None)
@given(
    TEXT, st.lists(st.tuples(TEXT, TEXT), max_size=5), st.dictionaries(TEXT, TEXT | st.integers(), max_size=3)
)
def test_any_text_comes_back_as_it_was(tmp_path_factory, prompt_text, pieces, manifest):
    store = Store.open(tmp_path_factory.getbasetemp() / "any/history.db")
    try:
        written = Written(store, prompt_text, system=prompt_text, sampling=manifest)
        lane = written.lane()
        run = written.start(written.conversation.prompts[0], lane, manifest=manifest)
        for text, thinking in pieces:
            written.add(run, text, thinking)
        for ended in (False, True):
            if ended:
                written.end(run, lane, error=ParagoneError(prompt_text))
            saved = written.load()
            (prompt,) = saved.conversation.prompts
            assert (prompt.system, prompt.text, prompt.sampling) == (prompt_text, prompt_text, manifest)
            assert (saved.runs[0].text, saved.runs[0].thinking) == (run.text, run.thinking)
            assert saved.runs[0].manifest == manifest
    finally:
        store.close()


def test_half_a_surrogate_pair_stops_nothing(store):
    written = Written(store, "a\ud83d")
    lane = written.lane()
    run = written.start(written.conversation.prompts[0], lane)
    written.add(run, "b\ude00 \ud83d")
    written.add(run, "\ude00")
    saved = written.load()
    assert saved.conversation.prompts[0].text == "a�"
    assert saved.runs[0].text == "b� ��"
    written.end(run, lane)
    assert written.load().runs[0].text == "b� 😀", "two halves that came one after the other are a whole"
    assert store.search("\ud83d") == store.search("�")


def test_large_histories_are_read_by_index(store):
    from paragone_workbench.store import _listing, _loading, _search

    def plan(sql, *values):
        return [row[3] for row in store._database.rows(f"EXPLAIN QUERY PLAN {sql}", *values)]

    piece = "SELECT text, thinking FROM piece WHERE run_id = ? ORDER BY id"
    for sql in (_listing._OPEN_LANES, _loading._PROMPTS, _loading._IMAGES, _loading._LANES, piece):
        assert not [line for line in plan(sql, 1) if line.startswith("SCAN")], sql
    assert not [line for line in plan(_loading._RUNS, 1) if line.startswith("SCAN")]
    assert any("conversation_updated" in line for line in plan(_listing._LIST, 1.0, 1, 50))
    for select, indexed, order in (
        (_search._PROMPTS, _search._IN_PROMPTS, "ORDER BY prompt.id DESC"),
        (_search._RUNS, _search._IN_RUNS, "ORDER BY run.id DESC"),
    ):
        scans = [line for line in plan(select + indexed + order, '"word"') if line.startswith("SCAN")]
        assert all("VIRTUAL TABLE INDEX" in line for line in scans)
    for table, column in (("run", "continues_id"), ("lane", "head_id"), ("piece", "run_id")):
        assert not [
            line for line in plan(f"SELECT 1 FROM {table} WHERE {column} = ?", 1) if line.startswith("SCAN")
        ], "deleting a run looks for what refers to it"


# ── The file ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("content", [b"This is a letter, not a database. " * 100, b"\0" * 5000])
def test_a_file_that_is_no_database_is_set_aside_and_told(content):
    history_file().parent.mkdir(parents=True)
    history_file().write_bytes(content)
    store = Store.open()
    assert "history.db.bad" in store.warning
    assert history_file().with_name("history.db.bad").read_bytes() == content
    Written(store, "x")
    store.close()
    history_file().write_bytes(content)
    store = Store.open()
    assert "history.db.bad-2" in store.warning
    store.close()


def test_a_file_cut_short_is_set_aside(store):
    for n in range(20):
        Written(store, f"{n} " * 5000)
    store.close()
    whole = history_file().read_bytes()
    history_file().write_bytes(whole[: len(whole) // 2])
    again = Store.open()
    assert "history.db.bad" in again.warning
    assert again.conversations() == ()
    again.close()


def test_damage_found_later_is_told(store):
    for n in range(20):
        Written(store, f"{n} " * 5000)
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
    with pytest.raises(ParagoneError, match="cannot be created"):
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
