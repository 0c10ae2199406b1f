import sqlite3
import stat
from contextlib import closing

import pytest
from tests.workbench.conftest import Paper
from tests.workbench.conversation_writer import LARGE, SMOL, ConversationWriter, facts
from tests.workbench.history_file import open_store

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
from paragone_workbench.runs.metrics import Percentiles, RunMetrics
from paragone_workbench.runs.result import manifest
from paragone_workbench.store import Store
from paragone_workbench.store.errors import ConversationDeleted, StoreError
from paragone_workbench.store.outbox import Outbox

METRICS = RunMetrics(ttft_s=0.5, itl_ms=Percentiles(p50=1.0), completion_tokens=3)
MANIFEST = {"engine": to_json(SMOL), "loaded": to_json(LoadedModel(name="Smol", context=8)), "seed": 1}


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://box/v1?key=s3cret", "https://box/v1"),
        ("https://box/sk-s3cret/v1", "https://box/•••/v1"),
    ],
)
def test_a_key_in_a_url_is_not_saved(store, url, kept):
    """The lane is saved, even though its engine might not open with such a URL."""
    box = EngineDefinition(name="box", backend="paper", model="m", options={"url": url})
    writer = ConversationWriter(store, "Hello")
    lane = writer.lane(box)
    writer.change(writer.lane(SMOL), definition=box)
    known = manifest(box, Paper(), LoadedModel(name="m"), RunRequest(messages=()))
    run = writer.start(writer.conversation.prompts[0], lane, manifest=known)
    error = ParagoneError(f"{url} is not there.", hint=f"Try {url}.")
    writer.end(run, lane, "failed", error=error)
    saved = writer.load()
    assert [kept.definition.options for kept in saved.lanes] == [{"url": kept}] * 2
    assert saved.runs[0].result.definition.options == {"url": kept}
    assert saved.runs[0].result.message.startswith(f"{kept} is not there. Try {kept}")
    store.close()
    assert not [
        path for path in history_file().parent.iterdir() if path.is_file() and b"s3cret" in path.read_bytes()
    ]


def test_a_conversation_is_loaded_completely(store):
    image = Image(data="AAEC", media_type="image/png", name="cat.png")
    writer = ConversationWriter(store)
    first = writer.prompt("Hello\nthere", system="Be brief.", sampling={"seed": 1}, images=(image, image))
    left, right = writer.lane(SMOL), writer.lane(LARGE)
    one = writer.start(first, left, manifest=MANIFEST)
    writer.add(one, "Hi.", "A greeting.")
    writer.end(
        one,
        left,
        finish="stop",
        metrics=METRICS,
        settings=RunSettings(seed=7, sampling={"top_k": 40}, prompt="<s>Hello", threads=2),
        cautions=(Caution(code="no-chat-template", sentence="It has none."),),
    )
    other = writer.start(first, right)
    writer.add(other, "He")
    writer.end(other, right, "failed", error=ParagoneError("It broke.", hint="Mend it."))
    second = writer.prompt("And?", first, system="")
    writer.answer(second, left, "Nothing.")

    saved = writer.load()
    assert saved.title == "Hello"
    assert saved.conversation.number == writer.number
    assert saved.conversation.created == writer.conversation.created <= saved.updated
    prompts = saved.conversation.prompts
    assert [(it.id, it.text, it.created) for it in prompts] == [
        (it.id, it.text, it.created) for it in writer.conversation.prompts
    ]
    assert [it.images for it in prompts] == [(image, image), ()]
    assert [it.parent for it in prompts] == [None, prompts[0]]
    assert [(it.system, it.sampling) for it in prompts] == [("Be brief.", {"seed": 1}), ("", None)]
    assert [it.active_system for it in prompts] == ["Be brief.", ""]
    assert prompts[1].active_sampling == {"seed": 1}
    assert [(it.id, it.definition, it.position, it.closed) for it in saved.lanes] == [
        (left.id, SMOL, 0, False),
        (right.id, LARGE, 1, False),
    ]
    for lane, kept in zip((left, right), saved.lanes, strict=True):
        assert list(map(facts, kept.runs)) == list(map(facts, lane.runs))
        assert facts(kept.head) == facts(lane.head)
    assert saved.lanes[0].head is saved.lanes[0].runs[1]
    assert saved.lanes[0].head.continues is saved.lanes[0].runs[0]
    assert [run.number for run in saved.runs] == sorted(
        run.number for lane in (left, right) for run in lane.runs
    )
    assert {run.phase for run in saved.runs} == {"ended"}
    assert saved.runs[0].result.loaded == LoadedModel(name="Smol", context=8)


def test_writing_the_same_again_changes_nothing(store):
    writer = ConversationWriter(store, "x")
    image = Image(data="AAEC", media_type="image/png")
    prompt = writer.conversation.add(Prompt(text="y", images=(image,)))
    lane = writer.lane()
    run = writer.start(prompt_of(writer), lane)
    outbox = Outbox(writer.conversation)
    outbox.runs[run] = lane
    outbox.put_prompt(prompt)
    outbox.put_run(run)
    run.add("answer", "so far")
    writes, _ = outbox.take()
    assert {kind for kind, _ in writes} == {"conversation", "prompt", "lane", "run", "head", "text"}
    assert store.save(writes) == store.save(writes)
    saved = writer.load()
    assert [(it.text, len(it.images)) for it in saved.conversation.prompts] == [("x", 0), ("y", 1)]
    assert [(it.state, it.text, it.number) for it in saved.runs] == [("interrupted", "so far", run.number)]
    assert len(saved.lanes) == 1
    assert writer.answer(prompt, lane, "next").number == run.number + 1, "no number is used up"


def prompt_of(writer):
    (prompt, *_) = writer.conversation.prompts
    return prompt


def test_a_batch_is_saved_completely_or_not_at_all(store):
    writer = ConversationWriter(store, "x")
    lane = writer.lane()
    good = writer.conversation.add(Prompt(text="good"))
    bad = Prompt(text="its image is none", images=(Image(data="A", media_type="image/png"),))
    outbox = Outbox(writer.conversation)
    for prompt in (good, bad):
        outbox.put_prompt(prompt)
    with pytest.raises(ValueError, match="base64"):
        store.save(outbox.take()[0])
    assert [it.text for it in writer.load().conversation.prompts] == ["x"]
    writer.answer(writer.prompt("y"), lane, "works")


def test_tokens_are_loaded_unchanged(store):
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
    writer = ConversationWriter(store, "x")
    lane = writer.lane()
    run = writer.start(writer.conversation.prompts[0], lane)
    writer.end(run, lane, tokens=tokens, settings=RunSettings(prompt="<s>x", prompt_ids=(1, 2)))
    (saved,) = writer.load().runs
    assert saved.result.tokens == tuple(tokens)
    assert saved.settings == RunSettings(prompt="<s>x")
    ((data,),) = store._database.rows("SELECT tokens FROM run")
    assert isinstance(data, bytes)
    writer.answer(writer.conversation.prompts[0], lane, "without")
    assert store._database.rows("SELECT count(tokens) FROM run") == [(1,)]


def test_files_are_private(store):
    ConversationWriter(store, "x")
    files = [path for path in history_file().parent.rglob("*") if path.is_file()]
    assert len(files) >= 4  # the database, its two extra files, and locks
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}
    assert stat.S_IMODE(history_file().parent.stat().st_mode) == 0o700


def test_a_run_marked_as_interrupted_by_mistake_is_saved_completely(store):
    """If the lock file of this instance is deleted, another instance marks its runs as interrupted."""
    writer = ConversationWriter(store, "x")
    lane = writer.lane()
    run = writer.start(writer.conversation.prompts[0], lane)
    writer.add(run, "one ")
    for path in history_file().with_name("history.db.owners").iterdir():
        path.unlink()
    Store.open().close()
    assert store._database.rows("SELECT state, text FROM run") == [("interrupted", "one ")]
    writer.add(run, "two ")
    writer.write(run, lane)
    writer.add(run, "three")
    assert writer.load().runs[0].text.startswith("one ")
    writer.end(run, lane)
    assert facts(writer.load().runs[0]) == facts(run)


def test_conversations_are_listed_in_their_order(store):
    writers = []
    for n in range(5):
        writer = ConversationWriter(store, f"Number {n}")
        writer.answer(writer.conversation.prompts[0], writer.lane(), "x")
        writers.append(writer)
    first, *others = writers
    ConversationWriter(store).save()  # has no prompts
    first.prompt("more")
    listed = store.conversations()
    assert [summary.number for summary in listed] == [it.number for it in (first, *reversed(others))]
    assert (listed[0].title, listed[0].prompts, listed[0].engines) == ("Number 0", 2, ("smol",))
    assert listed[0].updated == first.conversation.prompts[1].created
    paged = store.conversations(limit=2)
    paged += store.conversations(limit=2, before=paged[-1])
    paged += store.conversations(limit=2, before=paged[-1])
    assert paged == listed


def test_deleting_a_conversation_deletes_everything_in_it(store):
    writer = ConversationWriter(store, "findable question")
    (prompt,) = writer.conversation.prompts
    lane = writer.lane()
    run = writer.answer(prompt, lane, "findable answer")
    writer.end(run, lane, tokens=[Token(text="x", time=1.0)])
    running = writer.start(prompt, lane, continues=run)
    writer.add(running, "more")
    old, run_number, costs = writer.number, run.number, store.costs()
    store.delete_conversation(old)
    assert store.search("findable") == store.conversations() == store.prompts("", 9) == ()
    assert store.last_open() is None
    assert (store.summaries([old]), store.costs()) == ({}, {})
    for look in (lambda: store.conversation_of(run_number), lambda: store.pin(old, pinned=True)):
        with pytest.raises(InputError, match="There is no"):
            look()
    open_store().close()
    store.restore_conversation(old)  # while the instance that deleted it is running
    assert len(store.search("findable")) == 2
    assert [facts(it) for it in writer.load().runs[:1]] == [facts(run)]
    assert store.costs() == costs
    store.delete_conversation(old)
    with pytest.raises(InputError, match="deleted"):
        writer.load()
    with pytest.raises(ConversationDeleted, match="was deleted"):
        writer.add(running, "late")
    with pytest.raises(ConversationDeleted, match="was deleted"):
        writer.prompt("x")
    assert ConversationWriter(store, "x").number != old
    store.close()
    with closing(open_store()) as later, pytest.raises(InputError, match="deletion of c1 is final"):
        later.restore_conversation(old)
    with sqlite3.connect(history_file()) as raw:
        for table in ("lane", "turn", "run", "piece"):
            assert raw.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
        raw.execute("INSERT INTO run_search (run_search) VALUES ('integrity-check')")
    raw.close()


def test_the_cost_of_saving_a_piece_depends_only_on_its_length(store):
    writer = ConversationWriter(store, "x")
    lane = writer.lane()
    run = writer.start(writer.conversation.prompts[0], lane)
    writer.add(run, "x" * 3_000_000)
    wal = history_file().with_name("history.db-wal")
    with sqlite3.connect(history_file()) as raw:
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()
    for _ in range(10):
        writer.add(run, "y" * 100)
    assert wal.stat().st_size < 500_000
    writer.end(run, lane)
    assert len(writer.load().runs[0].text) == 3_001_000


def test_lone_surrogates_are_saved_as_replacement_characters(store):
    writer = ConversationWriter(store, "a\ud83d")
    lane = writer.lane()
    run = writer.start(writer.conversation.prompts[0], lane)
    writer.add(run, "b\ude00 \ud83d")
    writer.add(run, "\ude00")
    saved = writer.load()
    assert saved.conversation.prompts[0].text == "a�"
    assert saved.runs[0].text == "b� ��"
    writer.end(run, lane)
    assert writer.load().runs[0].text == "b� 😀", "two consecutive halves make a character"
    assert store.search("\ud83d") == store.search("�")


def test_queries_of_large_histories_use_indexes(store):
    from paragone_workbench.store import search
    from paragone_workbench.store import store as reading

    def plan(sql, *values):
        return [row[3] for row in store._database.rows(f"EXPLAIN QUERY PLAN {sql}", *values)]

    piece = "SELECT text, thinking FROM piece WHERE run_id = ? ORDER BY position"
    for sql in (reading._OPEN_LANES, reading._PROMPTS, reading._IMAGES, reading._LANES, piece):
        assert not [line for line in plan(sql, 1) if line.startswith("SCAN")], sql
    assert not [line for line in plan(reading._RUNS, 1) if line.startswith("SCAN")]
    listed = reading._SELECT + reading._LIST.format("1")
    lines = plan(listed, 2, 0.0, 0, 50)
    assert any("INDEX conversation_used ((pinned,used)" in line for line in lines), lines
    assert not any("USE TEMP B-TREE" in line for line in lines), lines
    for select, table in ((search._PROMPTS, "prompt"), (search._ANSWERS, "run")):
        source, match = search._INDEXED.format(table), search._MATCH.format(table)
        sql = f"{select.format(source)} WHERE {match} ORDER BY {table}_search.rowid DESC"
        lines = plan(sql, '"word"')
        scans = [line for line in lines if line.startswith("SCAN")]
        assert all("VIRTUAL TABLE INDEX" in line for line in scans)
        assert not any("USE TEMP B-TREE" in line for line in lines), "a search can stop early"
    for table, column in (
        ("turn", "continues_id"),
        ("lane", "head_id"),
        ("piece", "run_id"),
        ("cell", "run_id"),
        ("run", "about_id"),
    ):
        assert not [
            line for line in plan(f"SELECT 1 FROM {table} WHERE {column} = ?", 1) if line.startswith("SCAN")
        ], "deleting a run searches for references to it"


def test_damage_found_later_is_reported(store):
    for n in range(20):
        ConversationWriter(store, f"{n} " * 5000)
    store.close()
    whole = bytearray(history_file().read_bytes())
    middle = len(whole) // 2
    whole[middle:] = b"\xff" * (len(whole) - middle)
    history_file().write_bytes(whole)
    with pytest.raises(ParagoneError, match="damaged"):  # noqa: PT012 - wherever it shows first
        again = Store.open()
        try:
            for summary in again.conversations():
                again.load(summary.number)
            again.search("19")
        finally:
            again.close()


def test_an_unusable_folder_is_reported(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ParagoneError, match="cannot be created"):
        Store.open(tmp_path / "file/history.db")
    (tmp_path / "folder.db").mkdir()
    with pytest.raises(StoreError, match="cannot be opened"):
        Store.open(tmp_path / "folder.db")


@pytest.mark.parametrize(
    ("version", "message"),
    [
        (99, "newer version"),
        (14, "older version of paragone"),
        (-3, "has the version -3, which paragone never writes"),
    ],
)
def test_an_unknown_schema_is_refused_and_not_changed(store, version, message):
    store.close()
    with sqlite3.connect(history_file()) as raw:
        raw.execute(f"PRAGMA user_version = {version}")
    raw.close()
    before = history_file().read_bytes()
    with pytest.raises(InputError, match=message) as caught:
        Store.open()
    assert "ove the file away" in caught.value.hint
    assert history_file().read_bytes() == before
    assert not list(history_file().parent.glob("*.bad*"))
    assert not any(history_file().with_name("history.db.owners").iterdir())
