"""Prompts that were written and not sent: kept for the next start, each in one running instance of the program."""

import asyncio
import contextlib
import sqlite3

import pytest
from tests.workbench.history_file import open_history, open_store

from paragone_workbench.conversation.tree import Conversation, Prompt
from paragone_workbench.paths import history_file
from paragone_workbench.store import StoreError
from paragone_workbench.store.records import NO_DRAFT, DraftRecord
from paragone_workbench.store.saving import Recorder

DRAFT = DraftRecord(text="Why? [pasted text 1]", pasted={"[pasted text 1]": "long\n\ud800"}, named=("a.py",))


def draft(text):
    return DraftRecord(text=text)


def recording(read):
    """A recorder of a program whose user writes the draft that `read` returns."""
    recorder = Recorder()
    recorder.read_draft = read
    return recorder


def test_the_draft_that_was_written_last_is_kept(store):
    other = open_store()
    store.keep_draft(draft("first"))
    other.keep_draft(draft("second"))
    store.keep_draft(NO_DRAFT)
    assert store.take_draft() is None, "it is the other instance's, which runs"
    other.close()
    assert store.take_draft() == draft("second")


def test_a_damaged_draft_raises_an_error_only_once(store):
    store._database.run("INSERT INTO draft (text, pasted, named) VALUES ('x', '[', '[]')")
    with pytest.raises(StoreError, match="damaged"):
        store.take_draft()
    other = open_store()
    assert other.take_draft() is None
    other.close()


@pytest.mark.parametrize("stays", [NO_DRAFT, draft("written before")], ids=["nothing stays", "a draft stays"])
async def test_a_sent_prompt_is_never_lost_or_restored_as_a_draft(home, monkeypatch, stays):
    """After each transaction of the history, it is looked at as it would be found after a kill."""
    history = await open_history()
    written = draft("hello")
    recorder = recording(lambda: written)
    recorder.open(history)
    await recorder.take_draft()
    assert await recorder.save_draft_now() is None
    found: list[tuple[list[str], list[str]]] = []
    call = history.call

    def look(do, *, busy_s=None):
        def done(store):
            result = do(store)
            with contextlib.closing(sqlite3.connect(history_file())) as other:
                drafts, prompts = (
                    [text for (text,) in other.execute(f"SELECT text FROM {table}")] for table in TABLES
                )
            found.append((drafts, prompts))
            return result

        return call(done, busy_s=busy_s)

    monkeypatch.setattr(history, "call", look)
    conversation = Conversation()
    recorder.prompt_added(conversation, conversation.add(Prompt(text="hello")))
    written = stays
    recorder.draft_changed()
    async with asyncio.timeout(60):
        while conversation.number is None or recorder.saved_draft != stays:
            await asyncio.sleep(0.01)
    assert found == [([stays.text] if stays.text else [], ["hello"])]
    await recorder.close()
    await history.close()


TABLES = ("draft", "prompt")


async def test_while_a_sent_prompt_cannot_be_saved_its_draft_stays(home, short_waits):
    history = await open_history()
    written = draft("hello")
    recorder = recording(lambda: written)
    recorder.open(history)
    await recorder.take_draft()
    assert await recorder.save_draft_now() is None
    conversation = Conversation()
    with contextlib.closing(sqlite3.connect(history_file(), isolation_level=None)) as blocker:
        blocker.execute("BEGIN IMMEDIATE")
        recorder.prompt_added(conversation, conversation.add(Prompt(text="hello")))
        written = NO_DRAFT
        recorder.draft_changed()
        while recorder.problem is None:
            await asyncio.sleep(0.01)
        assert blocker.execute("SELECT text FROM draft").fetchall() == [("hello",)]
        blocker.execute("COMMIT")
    async with asyncio.timeout(60):
        while await history.call(lambda store: store._database.rows("SELECT 1 FROM draft")):
            await asyncio.sleep(0.01)
    assert await history.call(lambda store: store.prompts("", 10)) == ("hello",)
    await recorder.close()
    await history.close()


async def test_an_unsaved_draft_is_reported_and_saved_later(home, short_waits):
    history = await open_history()
    recorder = recording(lambda: DRAFT)
    assert "not open" in str(await recorder.save_draft_now())
    recorder.open(history)
    await recorder.take_draft()
    blocker = sqlite3.connect(history_file(), isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")
    assert "locked" in str(await recorder.save_draft_now())
    recorder.draft_changed()
    blocker.execute("COMMIT")
    blocker.close()
    async with asyncio.timeout(60):
        while not await history.call(lambda store: store._database.rows("SELECT 1 FROM draft")):
            await asyncio.sleep(0.02)
    await history.close()


async def test_an_instance_that_ends_keeps_its_draft_although_another_has_replaced_it(home):
    history = await open_history()
    recorder = recording(lambda: DRAFT)
    recorder.open(history)
    await recorder.take_draft()
    assert await recorder.save_draft_now() is None
    with contextlib.closing(open_store()) as other:
        other.keep_draft(draft("theirs"))
    assert await recorder.save_draft_now() is None
    await history.close()
    with contextlib.closing(open_store()) as store:
        assert store.take_draft() == DRAFT
