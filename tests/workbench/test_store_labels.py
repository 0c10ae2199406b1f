"""What users do with conversations: filters, titles, pins and tags."""

import contextlib
import itertools
import multiprocessing
import os
import signal
import sqlite3
import threading
import time

import pytest
from tests.workbench.conversation_writer import LARGE, SMOL, ConversationWriter

from paragone import InputError
from paragone_workbench.files.importing import add_conversation
from paragone_workbench.paths import history_file
from paragone_workbench.store.database import Database
from paragone_workbench.store.outbox import Outbox
from paragone_workbench.store.records import read_query
from paragone_workbench.store.store import Store
from paragone_workbench.store.votes import Vote, VotedAnswer


def written(store, text, definition=SMOL, answer="An answer.", state="done"):
    """Write a conversation with one answer."""
    writer = ConversationWriter(store, text)
    lane = writer.lane(definition)
    writer.answer(writer.conversation.prompts[0], lane, answer, state, ended=time.time())
    return writer.number


def titles(summaries):
    return [summary.title for summary in summaries]


def listed(store, text=""):
    return titles(store.conversations(query=read_query(text)))


def test_conversations_are_filtered_by_engine_model_tag_and_date(store):
    small, large = written(store, "about whales"), written(store, "about birds", LARGE)
    store.tag(large, ["Work", "work", "#later"])
    assert listed(store, "engine:SMO") == ["about whales"]
    assert listed(store, "model:/m/l") == ["about birds"]
    assert listed(store, "model:%") == []
    assert listed(store, "tag:work tag:later") == ["about birds"]
    assert listed(store, "tag:work engine:smol") == []
    assert store.conversations()[0].tags == ("later", "work")
    year = time.localtime().tm_year
    assert listed(store, f"since:{year} until:{year}") == ["about birds", "about whales"]
    assert listed(store, f"until:{year - 1}") == listed(store, f"since:{year + 1}-01-01") == []
    assert [hit.conversation for hit in store.search("about engine:smol")] == [small]
    assert [hit.conversation for hit in store.search("answer tag:work")] == [large]
    assert [hit.title for hit in store.search("tag:work")] == ["about birds"], "without words: the titles"


@pytest.mark.parametrize("text", ["since:soon", "until:2026-13", "since:2026-02-30", "tag:" + "x" * 41])
def test_an_invalid_filter_raises_an_input_error(text):
    with pytest.raises(InputError, match="is not a"):
        read_query(text)


def test_periods_end_at_the_next_day_month_or_year():
    for text, first_of_next in (
        ("2026", "2027-01-01"),
        ("2026-12", "2027-01-01"),
        ("2026-02-28", "2026-03-01"),
    ):
        assert read_query(f"until:{text}").until == read_query(f"since:{first_of_next}").since
    assert read_query("foo:bar engine: a:b").words == ("foo:bar", "engine:", "a:b"), "other words are text"


def test_titles_are_searched(store):
    number = written(store, "Name three colours.")
    store.rename(number, "Painting the shed")
    (hit,) = store.search("shed painting")
    assert (hit.conversation, hit.prompt_id, hit.run_id, hit.engine) == (number, None, None, "")
    assert [hit.snippet[start:end] for start, end in hit.marks] == ["Painting", "shed"]
    store.rename(number, "Three colours")
    (hit,) = store.search("colours")
    assert hit.prompt_id is not None, "a text of the conversation is preferred to its title"


def test_a_search_can_return_each_conversation_once(store):
    first = ConversationWriter(store, "zebra")
    for _ in range(5):
        first.prompt("zebra again", first.conversation.prompts[-1])
    second = ConversationWriter(store, "one zebra")
    assert len(store.search("zebra")) == 7
    hits = store.search("zebra", limit=2, one_each=True)
    assert [hit.conversation for hit in hits] == [second.number, first.number]
    assert hits[1].snippet == "zebra again"


def test_pinned_conversations_come_first(store):
    numbers = [written(store, text) for text in ("old", "middle", "new")]
    store.pin(numbers[0], pinned=True)
    assert listed(store) == ["old", "new", "middle"]
    page = store.conversations(limit=1)
    assert page[0].is_pinned
    assert titles(store.conversations(before=page[0])) == ["new", "middle"]
    last = store.last_open()
    assert last is not None
    assert last.title == "new"
    store.pin(numbers[0], pinned=False)
    assert listed(store) == ["new", "middle", "old"]


def test_voting_counts_as_use_of_a_conversation_but_opening_does_not(store):
    first, second = (ConversationWriter(store, text) for text in ("first", "second"))
    before = {it.number: it.updated for it in store.conversations()}
    outbox = Outbox(first.conversation)
    outbox.opened_again(())
    store.save(outbox.take()[0])
    assert {it.number: it.updated for it in store.conversations()} == before
    assert listed(store) == ["second", "first"]
    last = store.last_open()
    assert last is not None
    assert last.number == first.number, "it is the one to resume"
    voted = max(before.values()) + 1
    ballot = tuple(VotedAnswer(engine=it, backend="b", model="m", run="r") for it in "ab")
    prompt = first.conversation.prompts[0].id
    store.votes.add(Vote(candidates=ballot, choice=0, blind=True, created=voted, prompt_id=prompt))
    assert [(it.number, it.updated) for it in store.conversations()] == [
        (first.number, voted),
        (second.number, before[second.number]),
    ]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_import_leaves_whole_conversations_and_can_be_repeated(store, how):
    saved = []
    for text in ("one", "two"):
        number = written(store, text)
        store.rename(number, f"My {text}")
        saved.append(store.load(number))
    for it in saved:
        store.delete_conversation(it.conversation.number)

    def add(last):
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background ignores it
        run, calls = Database.run, itertools.count()

        def ended_after_the_last(database, sql, *values):
            found = run(database, sql, *values)
            if next(calls) == last:
                os.kill(os.getpid(), how)
            return found

        pytest.MonkeyPatch().setattr(Database, "run", ended_after_the_last)
        with contextlib.suppress(KeyboardInterrupt), contextlib.closing(Store.open()) as other:
            for it in saved:
                add_conversation(other, it)
            os._exit(0)

    def whole():
        loaded = [store.load(it.number) for it in store.conversations()]
        return [
            (it.title, [run.text for run in it.runs], [lane.head.text for lane in it.lanes]) for it in loaded
        ]

    complete = [(f"My {text}", ["An answer."], ["An answer."]) for text in ("two", "one")]
    found = []
    for last in itertools.count(0, 3):
        process = multiprocessing.get_context("fork").Process(target=add, args=(last,))
        process.start()
        process.join()
        found.append(whole())
        assert found[-1] in ([], complete[1:], complete)
        for it in store.conversations():
            store.delete_conversation(it.number)
        if process.exitcode == 0 and found[-1] == complete:
            break
    assert [] in found
    assert complete[1:] in found
    assert [add_conversation(store, it).is_new for it in saved] == [True, True]
    assert whole() == complete


def test_two_imports_wait_for_each_other(store):
    number = written(store, "wait")
    saved = store.load(number)
    store.delete_conversation(number)
    other = sqlite3.connect(history_file(), isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    threading.Timer(0.05, other.close).start()
    assert add_conversation(store, saved).is_new
    assert store._database.rows("PRAGMA busy_timeout") == [(10_000,)]
