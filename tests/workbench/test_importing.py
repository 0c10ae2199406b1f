"""Importing conversations: documents of paragone, and the files of other programs in the shapes that these write."""

import base64
import contextlib
import itertools
import json
import re
import sqlite3
import zipfile
from pathlib import Path

import pytest
from tests.workbench.conversation_writer import LARGE, ConversationWriter
from tests.workbench.history_file import open_history, open_store

from paragone import Image, InputError
from paragone_workbench.engines.registry import Registry
from paragone_workbench.experiments.document import documents_of_conversations
from paragone_workbench.files import databases, other_programs
from paragone_workbench.files.importing import (
    Added,
    add_conversation,
    conversation_actions,
    read_conversations,
    remove_secrets,
)

PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n").decode()


@pytest.fixture
def store(tmp_path):
    with contextlib.closing(open_store(tmp_path / "here.db")) as opened:
        yield opened


def written(tmp_path, data):
    path = tmp_path / "export.json"
    path.write_text(json.dumps(data))
    return path


@pytest.fixture
def imported(store, tmp_path):
    """A function that imports a file, or data as a file of JSON, and returns its conversations, as they are loaded."""

    def imported(given):
        path = given if isinstance(given, Path) else written(tmp_path, given)
        numbers = [add_conversation(store, saved)[0] for saved in read_conversations(path)]
        return [store.load(number) for number in numbers]

    return imported


@pytest.fixture
def database(tmp_path):
    """A function that makes a database by statements of SQL."""

    def made(statements: str) -> Path:
        path = tmp_path / "logs.db"
        with contextlib.closing(sqlite3.connect(path)) as database:
            database.executescript(statements)
        return path

    return made


def tree(saved):
    """Return the prompts with the texts of their parents, and the answers with their engines and the texts before them."""
    prompts = [(prompt.text, prompt.parent and prompt.parent.text) for prompt in saved.conversation.prompts]
    runs = [
        (run.prompt.text, run.result.definition.name, run.text, run.continues and run.continues.text)
        for run in saved.runs
    ]
    return prompts, runs


async def exported(tmp_path, change=lambda document: None):
    """Return a file with a conversation that has branches, an image, two lanes, a system prompt and log-probabilities."""
    path = tmp_path / "there.db"
    with contextlib.closing(open_store(path)) as store:
        writer = ConversationWriter(
            store,
            "First",
            system="Be brief.",
            sampling={"temperature": 0.5},
            images=(Image(data=PNG, media_type="image/png", name="dot.png"),),
        )
        first = writer.conversation.prompts[0]
        left, right = writer.lane(), writer.lane(LARGE)
        writer.answer(first, left, "One.", thinking="Hm.", finish="stop")
        writer.answer(first, right, "Uno.")
        second = writer.prompt("Second", first)
        writer.answer(second, left, "Two.", "stopped")
        branch = writer.prompt("Second, edited", first, for_all=False)
        writer.answer(branch, left, "Zwei.", continues=left.runs[0])
        writer.change(right, closed=True)
        store.rename(writer.number, "Numbers")
        before = writer.load()
    history = await open_history(path)
    try:
        number = before.conversation.number
        pieces = history.call(
            lambda store: "".join(documents_of_conversations(store, [store.load(number)], Registry().find))
        )
        document = json.loads(await pieces)
    finally:
        await history.close()
    change(document)
    return before, written(tmp_path, document)


def comparable(saved):
    """Return all of a saved conversation but the numbers, which belong to one file."""
    return (
        (saved.conversation.id, saved.title, saved.conversation.created),
        [
            (p.id, p.parent and p.parent.id, p.text, p.images, p.system, p.sampling, p.for_all, p.created)
            for p in saved.conversation.prompts
        ],
        [
            (lane.id, lane.definition, lane.position, lane.closed, lane.head and lane.head.id)
            for lane in saved.lanes
        ],
        [
            (run.result, run.prompt.id, run.continues and run.continues.id, lane.id)
            for run in saved.runs
            for lane in saved.lanes
            if run in lane.runs
        ],
    )


async def test_an_export_is_imported_completely_and_a_second_import_adds_only_new_parts(
    imported, store, tmp_path
):
    before, path = await exported(tmp_path)
    (after,) = imported(path)
    assert comparable(after) == comparable(before)
    number = after.conversation.number
    store.rename(number, "Mine now")
    (again,) = read_conversations(path)
    assert add_conversation(store, again) == Added(number, again.title, is_new=False, is_completed=False)
    assert store.load(number).title == "Mine now"
    assert comparable(store.load(number))[1:] == comparable(before)[1:]

    document = json.loads(path.read_text())
    document["prompts"].append({**document["prompts"][1], "uuid": "0193-new", "text": "Third", "parent": 1})
    (saved,) = imported(document)
    assert saved.conversation.prompts[-1].text == "Third"


async def test_a_part_with_an_id_of_another_conversation_is_refused(imported, store, tmp_path):
    _, path = await exported(tmp_path)
    (mine,) = imported(path)
    other = json.loads(path.read_text())
    other["uuid"] = "0193-stranger"
    for name in ("prompts", "lanes", "runs"):
        for number, part in enumerate(other[name]):
            part["uuid"] = f"0193-{name}-{number}"
    other["runs"][0] |= {"uuid": mine.runs[0].id, "text": "Overwritten."}
    with pytest.raises(InputError, match="has an id that belongs to another conversation in the history"):
        imported(other)
    assert comparable(store.load(mine.conversation.number)) == comparable(mine)


async def test_a_document_without_ids_gets_the_same_ids_each_time(imported, tmp_path):
    def older(document):
        del document["uuid"]
        for part in (*document["prompts"], *document["lanes"]):
            del part["uuid"]

    _, path = await exported(tmp_path, older)
    (first,), (second,) = imported(path), imported(path)
    assert first.conversation.number == second.conversation.number


async def test_invalid_documents_are_refused_completely(imported, store, tmp_path):
    _, path = await exported(tmp_path)
    text = path.read_text()
    changes = {
        "prompts[0] has an image that is not base64": lambda d: d["prompts"][0]["images"][0].update(
            data="no!"
        ),
        "created must be a number >= 0": lambda d: d.update(created=-1e300),
        "lanes[0].uuid must be text matching": lambda d: d["lanes"][0].update(uuid="\x1b[2J"),
        "Two of its parts have the same id": lambda d: d["prompts"][1].update(uuid=d["prompts"][0]["uuid"]),
    }
    for message, change in changes.items():
        document = json.loads(text)
        change(document)
        with pytest.raises(InputError, match=re.escape(message)):
            imported(document)
    assert store.conversations() == ()


async def test_an_import_completes_an_interrupted_answer(store, tmp_path):
    _, path = await exported(tmp_path)
    document = json.loads(path.read_text())
    run = document["runs"][1]
    whole, run["text"], run["state"] = dict(run), run["text"][:2], "interrupted"
    numbers = [add_conversation(store, saved) for saved in read_conversations(written(tmp_path, document))]
    document["runs"][1] = whole
    (saved,) = read_conversations(written(tmp_path, document))
    assert add_conversation(store, saved) == numbers[0]._replace(is_new=False, is_completed=True)
    after = {found.id: found for found in store.load(numbers[0].number).runs}[whole["uuid"]]
    assert (after.text, after.result.state) == (whole["text"], whole["state"])

    run["text"] = "U"  # a shorter text replaces nothing
    document["runs"][1] = run
    (shorter,) = read_conversations(written(tmp_path, document))
    assert not add_conversation(store, shorter).is_completed
    assert whole["text"] in [found.text for found in store.load(numbers[0].number).runs]


def node(parent, role, said, **more):
    """A node of ChatGPT's mapping."""
    message = {"author": {"role": role}, "content": {"content_type": "text", "parts": [said]}, **more}
    return {"parent": parent, "children": [], "message": message if role else None}


CHATGPT = [
    {
        "conversation_id": "abc",
        "title": "Colours",
        "create_time": 1700000000.5,
        "current_node": "a2",
        "mapping": {
            "root": node(None, "", ""),
            "s": node("root", "system", "", metadata={"is_visually_hidden_from_conversation": True}),
            "u1": node("s", "user", "Name a colour.", create_time=1700000001.0),
            "a1": node("u1", "assistant", "Red.", metadata={"model_slug": "gpt-4"}),
            "a2": node("u1", "assistant", "Blue.", metadata={"model_slug": "gpt-4"}),
            "u2": node("a2", "user", "Why?"),
            "t": node("u2", "tool", "result of a search"),
            "a3": node("t", "assistant", "Because.", metadata={"model_slug": "gpt-4o"}),
        },
    }
]


def test_an_export_of_chatgpt_is_imported(imported, store, tmp_path):
    path = written(tmp_path, CHATGPT)
    (saved,) = imported(path)
    (again,) = imported(path)
    assert comparable(again) == comparable(saved), "a second import changes nothing"
    assert len(store.conversations()) == 1
    assert saved.title == "Colours"
    assert saved.conversation.created == 1700000000.5
    prompts, runs = tree(saved)
    assert prompts == [("Name a colour.", None), ("Why?", "Name a colour.")]
    assert runs == [
        ("Name a colour.", "gpt-4", "Red.", None),
        ("Name a colour.", "gpt-4", "Blue.", None),
        ("Why?", "gpt-4o", "Because.", "Blue."),
    ]
    (lane,) = saved.lanes
    assert lane.head is not None
    assert lane.head.text == "Blue.", "the branch that was shown"


def test_chats_with_odd_ids_or_cycles_keep_all_texts(imported):
    def again(text):
        return {"mapping": {"u": node(None, "user", text)}, "title": text, "conversation_id": "abc"}

    cycle = {"mapping": {"a": node("b", "user", "One?"), "b": node("a", "assistant", "Two.")}}
    for _ in range(2):
        found = imported([*CHATGPT, again("Other"), again("Third"), cycle])
        assert [it.conversation.prompts[0].text for it in found] == [
            "Name a colour.",
            "Other",
            "Third",
            "One?",
        ]
        assert [it.conversation.number for it in found] == [1, 2, 3, 4]
    assert tree(found[3])[1] == [("One?", "unknown model", "Two.", None)]
    other = {"id": "3", "parent": "2", "role": "assistant", "content": "Other."}
    (saved,) = imported({**LLAMA, "messages": [*LLAMA["messages"], other]})
    assert sorted(run.text for run in saved.runs) == ["Bye", "Other."]


REASONED = '<details type="reasoning" done="true"><summary>Thought</summary>\n> Hm.\n</details>\nHey.'
DOT = {"type": "image", "url": f"data:image/png;base64,{PNG}", "name": "dot"}
WEBUI_MESSAGES = {
    "m1": {"parentId": None, "role": "user", "content": "Hello", "timestamp": 1700000001, "files": [DOT]},
    "m2": {"parentId": "m1", "role": "assistant", "content": "Hi.", "model": "a:7b"},
    "m3": {"parentId": "m1", "role": "assistant", "content": REASONED, "model": "b:7b"},
}
WEBUI_CHAT = {"system": "Be kind.", "history": {"currentId": "m3", "messages": WEBUI_MESSAGES}}
OPEN_WEBUI = [{"id": "w1", "title": "Two models", "created_at": 1700000000, "chat": WEBUI_CHAT}]


def test_open_webui_answers_of_two_models_become_two_lanes(imported):
    (saved,) = imported(OPEN_WEBUI)
    (prompt,) = saved.conversation.prompts
    assert (prompt.text, prompt.system, prompt.images[0].name) == ("Hello", "Be kind.", "dot")
    assert [(lane.definition.name, lane.head and lane.head.text) for lane in saved.lanes] == [
        ("a:7b", "Hi."),
        ("b:7b", "Hey."),
    ]
    assert saved.runs[1].thinking == "> Hm."


LLAMA = {
    "conv": {"id": "l1", "name": "Llamas", "currNode": "3", "lastModified": 1700000000000},
    "messages": [
        {"id": str(number), "parent": str(number - 1) if number else None, "role": role, "content": content, **more}
        for number, (role, content, more) in enumerate([
            ("system", "", {"timestamp": 1700000000000, "type": "root"}),
            ("system", "Rhyme.", {"timestamp": 1700000000001, "type": "text"}),
            ("user", "Hi", {"timestamp": 1700000001000, "extra": [{"type": "textFile", "content": "some text"}]}),
            ("assistant", "Bye", {"timestamp": 1700000002000, "thinking": "Hm", "model": "llama.gguf"}),
        ])
    ],
}  # fmt: skip


def test_an_export_of_llama_servers_web_interface_is_imported(imported):
    (saved,) = imported([LLAMA])
    (prompt,) = saved.conversation.prompts
    assert (prompt.text, prompt.system, prompt.created) == ("Hi\n\nsome text", "Rhyme.", 1700000001.0)
    (run,) = saved.runs
    assert (run.text, run.thinking, run.result.definition.name) == ("Bye", "Hm", "llama.gguf")


def studio_step(role, text):
    return {"type": "singleStep", "role": role, "content": [{"type": "text", "text": text}]}


def studio_steps(text):
    steps = [{"type": "contentBlock", "content": [{"type": "text", "text": text}]}]
    return {"type": "multiStep", "role": "assistant", "senderInfo": {"senderName": "qwen"}, "steps": steps}


LM_STUDIO = {
    "name": "Studio",
    "createdAt": 1700000000000,
    "systemPrompt": "Short.",
    "messages": [
        {"versions": [studio_step("user", "Hi")], "currentlySelected": 0},
        {"versions": [studio_steps("Hello"), studio_steps("Hey")], "currentlySelected": 1},
        {"versions": [studio_step("user", "More")], "currentlySelected": 0},
    ],
}


def test_a_conversation_of_lm_studio_is_imported(imported):
    (saved,) = imported(LM_STUDIO)
    prompts, runs = tree(saved)
    assert prompts == [("Hi", None), ("More", "Hi")]
    assert runs == [("Hi", "qwen", "Hello", None), ("Hi", "qwen", "Hey", None)]
    assert saved.conversation.prompts[0].system == "Short."
    assert saved.lanes[0].head is not None
    assert saved.lanes[0].head.text == "Hey"


def test_messages_in_openais_format_are_imported(imported, tmp_path):
    image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
    messages = [
        {"role": "system", "content": "Be exact."},
        {"role": "user", "content": [{"type": "text", "text": "1+1?"}, image]},
        {"role": "assistant", "content": "2"},
        {"role": "assistant", "content": "I am sure."},
        {"role": "user", "content": "Thanks"},
    ]
    (saved,) = imported({"model": "m", "messages": messages})
    prompts, runs = tree(saved)
    assert prompts == [("1+1?", None), ("Thanks", "1+1?")]
    assert runs == [("1+1?", "m", "2\n\nI am sure.", None)]
    assert saved.conversation.created == pytest.approx((tmp_path / "export.json").stat().st_mtime)
    assert saved.title == "1+1?", "without a title in the file, the first prompt is the title"
    assert saved.conversation.prompts[0].images[0].media_type == "image/png"
    (again,) = imported(messages)
    assert again.conversation.number != saved.conversation.number, "another file is another conversation"


def test_a_conversation_of_sharegpt_is_imported(imported):
    turns = [
        ("human", "Hi"),
        ("gpt", "Hello."),
        ("human", "12°?"),
        ("function_call", "{}"),
        ("observation", "12"),
    ]
    listed = [{"from": sender, "value": value} for sender, value in (*turns, ("gpt", "Yes."))]
    (saved,) = imported([{"id": "QWJhYvA_0", "system": "Be brief.", "conversations": listed}])
    assert tree(saved) == (
        [("Hi", None), ("12°?", "Hi")],
        [("Hi", "unknown model", "Hello.", None), ("12°?", "unknown model", "Yes.", "Hello.")],
    )
    assert saved.conversation.prompts[0].active_system == "Be brief."


def test_the_database_of_llm_is_imported(imported, database):
    path = database("""
            CREATE TABLE conversations (id TEXT PRIMARY KEY, name TEXT, model TEXT);
            CREATE TABLE responses (id TEXT PRIMARY KEY, model TEXT, prompt TEXT, system TEXT, prompt_json TEXT,
              options_json TEXT, response TEXT, response_json TEXT, conversation_id TEXT, duration_ms INTEGER,
              datetime_utc TEXT);
            INSERT INTO conversations VALUES ('c', 'Colours', 'm');
            INSERT INTO responses VALUES ('01', 'm', 'One?', 'Short.', '', '', 'Red', '', 'c', 5, '2026-01-02T03:04:05');
            INSERT INTO responses VALUES ('02', 'm', 'Two?', NULL, '', '', 'Blue', '', 'c', 5, '2026-01-02T03:05:05');
        """)
    (saved,) = imported(path)
    prompts, runs = tree(saved)
    assert prompts == [("One?", None), ("Two?", "One?")]
    assert runs == [("One?", "m", "Red", None), ("Two?", "m", "Blue", "Red")]
    assert saved.conversation.prompts[0].system == "Short."
    assert saved.conversation.created == 1767323045.0


def test_the_database_of_llm_with_threads_is_imported(imported, database):
    """In the shape of version 0.36: a fork, a tool, a text made of a fragment, and the tables of earlier versions."""
    path = database("""
            CREATE TABLE conversations (id TEXT PRIMARY KEY, name TEXT, model TEXT);
            CREATE TABLE responses (id TEXT PRIMARY KEY, model TEXT, prompt TEXT, system TEXT, response TEXT,
              conversation_id TEXT, datetime_utc TEXT);
            CREATE TABLE fragments (id INTEGER PRIMARY KEY, hash TEXT, content TEXT);
            CREATE TABLE messages (hash TEXT PRIMARY KEY, parent_hash TEXT, role TEXT, provider_metadata TEXT);
            CREATE TABLE parts (id INTEGER PRIMARY KEY, message_hash TEXT, position INTEGER, type TEXT,
              tool_name TEXT, text TEXT, payload TEXT);
            CREATE TABLE threads (id TEXT PRIMARY KEY, name TEXT, tip_message_hash TEXT, forked_from TEXT,
              datetime_utc TEXT);
            CREATE TABLE turns (id TEXT PRIMARY KEY, thread_id TEXT, parent_message_hash TEXT,
              tip_message_hash TEXT, model TEXT, datetime_utc TEXT);
            INSERT INTO fragments VALUES (7, '', 'A novel.');
            INSERT INTO messages VALUES ('s', NULL, 'system', NULL), ('u1', 's', 'user', NULL),
              ('c', 'u1', 'assistant', NULL), ('t', 'c', 'tool', NULL), ('a1', 't', 'assistant', NULL),
              ('u2', 'a1', 'user', NULL), ('a2', 'u2', 'assistant', NULL),
              ('u3', 'a1', 'user', NULL), ('a3', 'u3', 'assistant', NULL);
            INSERT INTO parts (message_hash, position, type, text, payload) VALUES ('s', 0, 'text', 'Short.', NULL),
              ('u1', 0, 'text', NULL, '{"text_ref": [{"fragment": 7}, {"literal": " Of whom?"}]}'),
              ('c', 0, 'tool_call', NULL, '{"name": "search"}'), ('t', 0, 'tool_result', NULL, '{"output": "x"}'),
              ('a1', 0, 'reasoning', 'Hm.', NULL), ('a1', 1, 'text', 'Of Ann.', NULL),
              ('u2', 0, 'text', 'Sure?', NULL), ('a2', 0, 'text', 'Yes.', NULL),
              ('u3', 0, 'text', 'Why?', NULL), ('a3', 0, 'text', 'So.', NULL);
            INSERT INTO threads VALUES ('x', 'Novels', 'a2', NULL, ''), ('y', 'Forked', 'a3', 'x', '');
            INSERT INTO turns VALUES ('1', 'x', 'u1', 'a1', 'm', '2026-01-02T03:04:05'),
              ('2', 'x', 'u2', 'a2', 'm', '2026-01-02T03:05:05'), ('3', 'y', 'u3', 'a3', 'other', '2026-01-02T03:06:05');
        """)
    saved, fork = imported(path)
    begin = ("A novel. Of whom?", "m", "Of Ann.", None)
    assert (saved.title, tree(saved)[1]) == ("Novels", [begin, ("Sure?", "m", "Yes.", "Of Ann.")])
    assert (saved.runs[0].thinking, saved.conversation.prompts[0].system) == ("Hm.", "Short.")
    assert saved.conversation.created == 1767323045.0
    assert (fork.title, tree(fork)[1][1]) == ("Forked", ("Why?", "other", "So.", "Of Ann."))


def test_the_database_of_oterm_is_imported(imported, database):
    path = database("""
            CREATE TABLE chat (id INTEGER PRIMARY KEY, name TEXT, model TEXT NOT NULL, system TEXT);
            CREATE TABLE message (id INTEGER PRIMARY KEY, chat_id INTEGER, author TEXT, text TEXT, images TEXT);
            INSERT INTO chat VALUES (1, 'chat #1', 'qwen', 'Be kind.');
            INSERT INTO message VALUES (1, 1, 'user', 'Hi', '[]'), (2, 1, 'assistant', 'Hello', '[]');
        """)
    (saved,) = imported(path)
    assert tree(saved) == ([("Hi", None)], [("Hi", "qwen", "Hello", None)])
    assert saved.title == "chat #1"


def test_files_without_conversations_are_refused(imported, tmp_path):
    path = tmp_path / "file"
    for content, message in (
        (b'[{"mapping": {}}]', "has no conversation that can be imported: 1 conversation without a message"),
        (
            b'[{"colour": 1}]',
            "can be imported: it is a list of 1, of which the first is an object with 'colour'",
        ),
        (b'{"paragone_document": 1,\n"kind": "conversation",\n', "is cut off in conversation 1"),
        (b"[" * 100_000, "is not valid JSON"),
        (b"SQLite format 3\0 nonsense", "cannot be read"),
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=message):
            imported(path)


def test_an_invalid_date_is_replaced_by_the_files_date(imported, tmp_path):
    messages = [
        {"role": "user", "content": "Hello", "timestamp": 1e300},
        {"role": "assistant", "content": "Hi", "timestamp": -1e20},
    ]
    for number, message in enumerate(messages):
        message |= {"id": str(number), "parentId": str(number - 1) if number else None}
    history = {"messages": {message["id"]: message for message in messages}, "currentId": "1"}
    path = written(
        tmp_path, [{"id": "x", "title": "T", "created_at": 1e300, "chat": {"title": "T", "history": history}}]
    )
    (saved,) = imported(path)
    changed = path.stat().st_mtime
    assert saved.conversation.created == changed
    assert [prompt.created for prompt in saved.conversation.prompts] == [changed]
    assert [run.result.started for run in saved.runs] == [changed]


KEY = "sk-0123456789abcdefXYZ"
REGISTRY = Registry()


def foreign(engine, *, prompt_sampling=None, request=None, **run):
    """Return a change to a document: all engines are this one, but that of the first lane."""

    def change(document):
        document["engines"] = [
            {"name": "mine", "backend": "imported", "model": "m"},
            {"name": "far", "model": "m", **engine},
        ]
        for lane in document["lanes"]:
            lane["engine"] = 0
        for it in document["runs"]:
            it.update({"engine": 1, **run})
            if request is not None:
                it["request"] = {"sampling": request}
        document["prompts"][0]["sampling"] = prompt_sampling

    return change


def actions_of(path):
    return conversation_actions(list(read_conversations(path)), path, REGISTRY, ())


async def test_actions_of_engines_and_requests_need_consent_even_with_invalid_options(tmp_path):
    url = {"url": "http://h.example"}
    for engine, expected in (
        ({"backend": "exllamav3", "python": "/tmp/evil"}, "starts the interpreter /tmp/evil"),
        ({"backend": "openai", "options": {**url, "key_env": "MINE"}}, "sends to its server: key_env = MINE"),
        ({"backend": "openai", "options": {**url, "temperature": "hot"}}, "contacts http://h.example:80"),
    ):
        _, path = await exported(tmp_path, foreign(engine))
        assert f"the engine far {expected}" in actions_of(path)
        (tmp_path / "there.db").unlink()
    engine = {"backend": "imported"}  # the user chooses an engine for the lane, or for a replay
    change = foreign(engine, prompt_sampling={"grammar": "@/dev/zero"}, request={"json_schema": "@/etc/x"})
    _, path = await exported(tmp_path, change)
    assert actions_of(path) == ("a request reads /dev/zero", "a request reads /etc/x")


@pytest.mark.parametrize("backend", ["openai", "gone"])
async def test_keys_in_a_document_are_not_saved_or_shown(store, tmp_path, backend):
    options = {
        "url": f"http://u:{KEY}@h.example/{KEY}?k={KEY}",
        "key_env": KEY,
        "key_command": f"echo {KEY}",
        "headers": [f"Authorization: Bearer {KEY}"],
        "arguments": ["--api-key", f"--api-key={KEY}"],
        "nonsense": f"Authorization: Bearer {KEY}",
    }
    engine = {"backend": backend, "options": options, "address": f"http://h.example/?k={KEY}"}
    change = foreign(
        engine,
        prompt_sampling={"stop": [KEY]},
        request={"stop": [f"a {KEY}"], "api_key": KEY},
        state="failed",
        error=f"Refused: the key {KEY}, at http://h.example/?k={KEY}.",
        hint=f"Try '{KEY}'.",
        cautions=[{"code": "c", "sentence": f"Bearer {KEY}"}],
        settings={"seed": 1, "sampling": {"stop": [KEY]}},
    )

    def with_manifest(document):
        change(document)
        document["lanes"][0]["engine"] = 1
        weights = [{"path": "/m.gguf", "sha256": "ab12" * 16}]
        document["manifests"] = [{"engine": {"name": "far", "model": "m", **engine}, "weights": weights}]
        document["manifests"][0]["loaded"] = {"note": f"key={KEY}"}
        for run in document["runs"]:
            run["manifest"] = 0

    _, path = await exported(tmp_path, with_manifest)
    read = list(read_conversations(path))
    for saved in read:
        remove_secrets(saved, REGISTRY)
        add_conversation(store, saved)
    store.close()
    assert not [
        file for file in tmp_path.glob("here.db*") if file.is_file() and KEY.encode() in file.read_bytes()
    ]
    assert ("ab12" * 16).encode() in (tmp_path / "here.db").read_bytes()
    assert KEY not in str(conversation_actions(read, path, REGISTRY, ()))


# Files made to break the program: each is imported, or refused with a message


def chatgpt(nodes):
    return {
        "mapping": {"first": node(None, "user", "hi"), **nodes},
        "title": "A title",
        "conversation_id": "c",
    }


def chain(count: int, size: int):
    """Answers in as many messages, each following the one before."""
    names = ["first", *map(str, range(count))]
    return chatgpt(
        {name: node(before, "assistant", "x" * size) for before, name in itertools.pairwise(names)}
    )


def test_answers_in_too_many_messages_are_refused(imported):
    """Thirty megabytes of such messages took a hundred gigabytes, and seventeen with variants four."""
    (saved,) = imported(chain(1500, 2000))
    assert [len(run.text) for run in saved.runs] == [1500 * 2002 - 2]
    beginning = chain(100, 10_000)
    beginning["mapping"] |= {f"v{number}": node("99", "assistant", "x") for number in range(70)}
    with pytest.raises(InputError, match="'A title' has too many variants of an answer in several messages"):
        imported(beginning)


def test_too_many_models_side_by_side_are_refused(imported, monkeypatch):
    monkeypatch.setattr(other_programs, "MOST_LANES", 20)
    answers = {str(n): node("first", "assistant", "x", metadata={"model_slug": f"m{n}"}) for n in range(21)}
    with pytest.raises(InputError, match="has answers of more than 20 models side by side"):
        imported(chatgpt(answers))


def test_parts_of_wrong_types_and_unprintable_texts_are_handled(imported):
    (saved,) = imported(
        chatgpt(
            {
                "a": {"parent": 5, "message": {"author": [], "content": {"parts": {"x": 1}}}},
                "b": node("first", "assistant", "\udfff\0\x1b[2J", create_time="soon", metadata=5),
                "c": node("c", "user", "its own parent"),
            }
        )
    )
    (run,) = saved.runs
    assert "[2J" in run.text


def test_a_zip_archive_is_refused_with_a_hint(imported, tmp_path):
    path = tmp_path / "export.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("conversations.json", b" " * 10**7)
    with pytest.raises(InputError) as caught:
        imported(path)
    assert caught.value.message.endswith("export.zip is a zip archive.")
    assert caught.value.hint == "Unpack it, and import the file conversations.json in it."


LLM = """
    CREATE TABLE conversations (id, name);
    CREATE TABLE responses (id, conversation_id, model, prompt, system, datetime_utc, response{});
"""


def test_values_of_wrong_types_are_ignored(imported, database):
    rows = """INSERT INTO conversations VALUES (5, x'ff');
        INSERT INTO responses VALUES (7.5, 5, x'00', 5, 6, 9, x'fffe');"""
    (saved,) = imported(database(LLM.format("") + rows))
    assert len(saved.conversation.prompts) == 1


def test_a_database_that_would_take_gigabytes_is_refused(imported, database, monkeypatch, tmp_path):
    """Twenty kilobytes with a column that SQLite computes took seven gigabytes."""
    row = "INSERT INTO conversations VALUES ('a', 'n'); INSERT INTO responses VALUES (1, 'a', 'm', 'p', '', '');"
    path = database(LLM.format(" AS (hex(zeroblob(30000000)))") + row)
    with pytest.raises(InputError, match=r"an unknown program: it has the tables 'conversations'\."):
        imported(path)
    path.unlink()
    view = "CREATE VIEW responses AS SELECT 1 AS id; CREATE TABLE conversations (id, name);"
    with pytest.raises(InputError, match="an unknown program"):
        imported(database(view))
    path.unlink()
    monkeypatch.setattr(databases, "MOST_TEXT", 100)
    with pytest.raises(InputError, match="A conversation has more than 100 characters"):
        imported(
            database(
                LLM.format("") + "INSERT INTO responses VALUES (1, 'a', 'm', 'p', '', '', hex(zeroblob(60)));"
            )
        )
    path.unlink()
    shared = """
        CREATE TABLE threads (id, name); CREATE TABLE turns (id, thread_id, tip_message_hash, model, datetime_utc);
        CREATE TABLE messages (hash, parent_hash, role); CREATE TABLE parts (message_hash, position, type, text,
        payload); CREATE TABLE fragments (id INTEGER PRIMARY KEY, content);
        INSERT INTO fragments VALUES (1, hex(zeroblob(30))); INSERT INTO turns VALUES (1, 't', 'b', 'm', '');
        INSERT INTO messages VALUES ('a', '', 'user'), ('b', 'a', 'assistant');
        INSERT INTO parts VALUES ('a', 0, 'text', '', '{"text_ref": [{"fragment": 1}]}'),
          ('b', 0, 'text', '', '{"text_ref": [{"fragment": 1}]}');
    """
    with pytest.raises(InputError, match="A conversation has more than 100 characters"):
        imported(database(shared))  # no message alone, but both
