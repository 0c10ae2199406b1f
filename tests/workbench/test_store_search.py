import pytest
from tests.workbench.conversation_writer import ConversationWriter
from tests.workbench.history_file import open_store

from paragone_workbench.store import search

TEXTS = [
    "What does the borrow checker do in Rust?",
    "今天天气很好，我们去公园散步吧。",
    "東京タワーはどこにありますか",
    "Сколько стоит билет в Москву?",
    "ภาษาไทยไม่มีช่องว่างระหว่างคำ",
    "GRÖSSE und Übermut",
    'He said "NOT (this) OR that*" AND left: -x ^y {z}',
    "100% of a_b \\ c",
    "👩‍👩‍👧 family 🚀🚀🚀",
]


@pytest.fixture
def store():
    store = open_store()
    for text in TEXTS:
        ConversationWriter(store, text)
    yield store
    store.close()


QUERIES = [
    ("borrow", 0),
    ("checker borrow", 0),
    ("Ru", 0),
    ("园", 1),
    ("公园 天气", 1),
    ("東京", 2),
    ("москву", 3),
    ("ช่องว่าง", 4),
    ("übermut", 5),
    ('"NOT (this) OR', 6),
    ("left: -x ^y {z}", 6),
    ("100%", 7),
    ("🚀", 8),
]
"""Queries, and the number of the text that each finds."""


def test_words_in_any_script_and_symbols_are_found(store):
    found = [(query, [hit.title for hit in store.search(query)]) for query, _ in QUERIES]
    assert found == [(query, [TEXTS[number]]) for query, number in QUERIES]


@pytest.mark.parametrize(
    "query",
    [
        "公园散步",
        "GRÖSSE mut",
        "rust? tag:none",
    ],
)
def test_common_words_without_the_index_and_rare_words_with_it_give_the_same_hits(store, monkeypatch, query):
    by_index = store.search(query)
    monkeypatch.setattr(search, "_RARE", 0)
    assert store.search(query) == by_index


def test_a_common_word_in_few_conversations_reads_each_row_once(store, monkeypatch):
    """To find each row by the index takes five times as long, where a filter leaves few of them."""
    monkeypatch.setattr(search, "_RARE", 3)
    for number in range(8):
        ConversationWriter(store, f"common {number}")
    store.tag(len(TEXTS) + 1, ["old"])
    statements: list[str] = []
    store._database._connection.set_trace_callback(statements.append)
    assert [hit.snippet for hit in store.search("tag:old common")] == ["common 0"]
    assert not [it for it in statements if "prompt_search CROSS JOIN" in it]
    statements.clear()
    assert [hit.snippet for hit in store.search("borrow")] == [TEXTS[0]]
    assert [it for it in statements if "prompt_search CROSS JOIN" in it]


def test_answers_are_found_with_their_engine_newest_first(store):
    writer = ConversationWriter(store, "a zebra?")
    (prompt,) = writer.conversation.prompts
    lane = writer.lane()
    run = writer.start(prompt, lane)
    writer.add(run, "The ze")
    writer.add(run, "bra is striped", "zebra, horse")
    assert [hit.run_id for hit in store.search("zebra")] == [None]
    writer.end(run, lane)
    answer, question = store.search("zebra")
    assert (answer.run_id, answer.engine, answer.prompt_id) == (run.id, "smol", prompt.id)
    assert (question.run_id, question.engine, question.conversation) == (None, "", writer.number)
    assert store.search("horse") == ()
    assert len(store.search("zebra", limit=1)) == 1


def test_the_snippet_is_one_line_around_the_match(store):
    ConversationWriter(store, "before " * 100 + "\nthe  Needle\nin\tthe needle-stack " + "after " * 100)
    (hit,) = store.search("needle stack")
    assert "the Needle in the needle-stack" in hit.snippet
    assert len(hit.snippet) <= 100
    assert [hit.snippet[start:end] for start, end in hit.marks] == ["Needle", "needle", "stack"]


def test_earlier_prompts_are_found_once_each_newest_first(store):
    ConversationWriter(store, TEXTS[0])  # again
    assert store.prompts("", 3) == (TEXTS[0], TEXTS[8], TEXTS[7])
    assert len(store.prompts("", 100)) == len(TEXTS)
    for words, found in (("RUST checker", 0), ("öS", 5), ("园", 1), ('"NOT (this', 6)):
        assert store.prompts(words, 9) == (TEXTS[found],), words
    assert store.prompts("rust nowhere", 9) == ()
    section = len("ありますか") - len("\n\n")
    attach = "INSERT INTO attached_file SELECT id, 0, 'notes', 1, ? FROM prompt WHERE text = ?"
    store._database.run(attach, section, TEXTS[2])
    assert store.prompts("東京", 9) == ("東京タワーはどこに",), "what was written, without the attached file"
