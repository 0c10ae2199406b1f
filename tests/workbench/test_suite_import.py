"""Suites of what other programs have written. Each sample has the form that its program writes."""

import json
import sqlite3
import tracemalloc

import msgspec
import pytest

from paragone import InputError
from paragone_workbench.experiments.assertions import load_assertions
from paragone_workbench.experiments.suite_file import read_suite
from paragone_workbench.files.suite_import import SuiteImport, entries_in, write_suite


class Importing(SuiteImport):
    def __init__(self, template=""):
        self.messages: list[str] = []
        super().__init__(self.messages.append, template)


@pytest.fixture
def imported(tmp_path):
    """Import a file with this content; returns the entries without conversations, and the import. The written suite is
    valid."""

    def of(name, content, template=""):
        path = tmp_path / name
        path.write_text(
            content if isinstance(content, str) else "".join(json.dumps(it) + "\n" for it in content)
        )
        importing = Importing(template)
        entries = [*entries_in(path, importing)]
        if entries:
            write_suite(entries, tmp_path / "suite.jsonl", replaces=True)
            assert len(read_suite(tmp_path / "suite.jsonl", load_assertions()).prompts) == len(entries)
        found = msgspec.to_builtins(entries)
        return [{key: it[key] for key in it if key != "conversation"} for it in found], importing

    return of


def message(role, content, **more):
    return {"role": role, "content": content, **more}


TALK = [
    message("system", "Be brief."),
    message("user", "Hi"),
    message("assistant", "Hello."),
    message("user", "2+2?"),
    message("assistant", "4."),
]
TURNS = [
    {"system": "Be brief.", "prompt": "Hi", "answer": "Hello."},
    {"system": "Be brief.", "messages": TALK[1:4], "answer": "4."},
]
BODY = {"id": "chatcmpl-1", "object": "chat.completion", "model": "m"}


def response(content, **more):
    return {**BODY, "choices": [{"index": 0, "message": message("assistant", content, **more)}]}


def sharegpt(*turns):
    return [{"from": sender, "value": value} for sender, value in turns]


def node(parent, role, text, **more):
    content = {"content_type": "text", "parts": [text]}
    return {"parent": parent, "message": {"author": {"role": role}, "content": content, **more}}


CHATGPT = {
    "conversation_id": "abc",
    "title": "Sums",
    "create_time": 1700000000.5,
    "current_node": "e",
    "mapping": {
        "root": {"parent": None, "message": None},
        "a": node("root", "system", "Be brief."),
        "b": node("a", "user", "Hi"),
        "c": node("b", "assistant", "Hello.", metadata={"model_slug": "gpt-5"}),
        "other": node("b", "assistant", "Another branch."),
        "d": node("c", "user", "2+2?"),
        "e": node("d", "assistant", "4."),
    },
}
SHAREGPT = {
    "id": "QWJhYvA_0",
    "conversations": sharegpt(
        ("system", "Be brief."), ("human", "Hi"), ("gpt", "Hello."), ("human", "2+2?"), ("gpt", "4.")
    ),
}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("chat.jsonl", [{"messages": TALK}]),
        ("talks.json", json.dumps([{"messages": TALK}], indent=1)),
        ("talk.json", json.dumps(TALK)),
        ("sharegpt.jsonl", [SHAREGPT]),
        ("ShareGPT_V3.json", json.dumps([SHAREGPT], indent=2)),
        ("conversations.json", json.dumps([CHATGPT])),
    ],
)
def test_each_recorded_answer_of_a_conversation_is_the_past_of_the_next_turn(imported, name, content):
    entries, importing = imported(name, content)
    assert entries == TURNS
    assert not importing.messages


LLAMA_SERVER = """\
0.38.075.460 I slot update_slots: id  0 | task 0 | new prompt, n_ctx_slot = 4096, n_keep = 0, task.n_tokens = 17
0.38.075.567 I srv  log_server_r: done request: POST /v1/chat/completions 127.0.0.1 200
0.38.075.570 D srv  log_server_r: request:  {}
0.38.075.571 D srv  log_server_r: response: {}
0.39.075.567 I srv  log_server_r: done request: POST /v1/chat/completions 127.0.0.1 200
0.39.075.570 D srv  log_server_r: request:  {{"messages":[{{"role":"user","content":"A stream."}}],"stream":true}}
0.39.075.571 D srv  log_server_r: response:
"""
REQUESTS = [{"model": "m", "messages": TALK[:2]}, {"model": "m", "messages": TALK[:4]}]
RESPONSES = [response("Hello."), response("4.")]
PAIRS = [*zip(REQUESTS, RESPONSES, strict=True)]
LITELLM = [
    {"id": "chatcmpl-1", "call_type": "acompletion", "status": "success", "messages": request["messages"], "response": answer}
    for request, answer in PAIRS
]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("litellm.jsonl", LITELLM),
        ("proxy.jsonl", [{"request": request, "response": answer} for request, answer in PAIRS]),
        (
            "vllm.jsonl",
            [{"request_body": json.dumps(one), "response_body": json.dumps(other)} for one, other in PAIRS],
        ),
        ("llama-server.log", "".join(LLAMA_SERVER.format(*map(json.dumps, pair)) for pair in PAIRS)),
    ],
)
def test_a_logged_request_becomes_one_turn_without_repeating_its_past(imported, tmp_path, name, content):
    entries, importing = imported(name, content)
    assert entries == TURNS
    assert not importing.messages
    written = [json.loads(line) for line in (tmp_path / "suite.jsonl").read_text().splitlines()]
    assert len({it["conversation"] for it in written}) == 1, "both requests belong to one conversation"


def test_turns_after_calls_of_tools_and_images_are_skipped_and_counted(imported):
    call = message("assistant", None, tool_calls=[{"id": "1", "type": "function"}])
    with_tool = [
        *TALK[:3],
        message("user", "Weather?"),
        call,
        message("tool", "12°"),
        message("assistant", "Cold."),
    ]
    image = {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}
    with_image = [*TALK[:3], message("user", [{"type": "text", "text": "What?"}, image]), *TALK[3:4]]
    tool_turns = sharegpt(("human", "Hi"), ("function_call", "{}"), ("observation", "12°"), ("gpt", "Cold."))
    call_response = {"messages": TALK[:2], "response": response(None, tool_calls=[{}])}
    entries, importing = imported(
        "chat.jsonl",
        [{"messages": with_tool}, {"messages": with_image}, {"conversations": tool_turns}, call_response],
    )
    assert entries == TURNS[:1] * 2
    assert importing.skipped == {"turns from a call of a tool on": 3, "turns from an image on": 2}
    assert not importing.messages


def test_a_request_without_a_response_is_a_prompt_without_an_answer(imported):
    failed = {"messages": TALK[:4], "response": None, "status": "failure", "error_str": "Timeout"}
    batch = {
        "custom_id": "1",
        "method": "POST",
        "url": "/v1/chat/completions",
        "body": {"messages": TALK[:2]},
    }
    entries, _ = imported("log.jsonl", [failed, batch])
    assert entries == [
        {"system": "Be brief.", "messages": TALK[1:4]},
        {"system": "Be brief.", "prompt": "Hi"},
    ]


def test_memory_does_not_grow_with_the_number_of_lines(tmp_path):
    def peak(lines):
        (tmp_path / "chat.jsonl").write_text((json.dumps({"messages": TALK}) + "\n") * lines)
        tracemalloc.start()
        try:
            write_suite(
                entries_in(tmp_path / "chat.jsonl", Importing()), tmp_path / "suite.jsonl", replaces=True
            )
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)  # imports modules
    assert peak(2000) < 2 * peak(20)


def test_a_bad_line_is_reported_with_its_number_and_skipped(imported):
    lines = ['{"messages": [', json.dumps({"messages": TALK}), "", '{"a": 1}', '{"input": "\\ud800"}']
    entries, importing = imported("chat.jsonl", "\n".join(lines))
    assert entries == TURNS
    assert [it[:14] for it in importing.messages] == ["chat.jsonl:1: ", "chat.jsonl:4: ", "chat.jsonl:5: "]
    assert "not valid JSON" in importing.messages[0]


def test_a_file_without_a_prompt_writes_nothing(tmp_path):
    (tmp_path / "a.jsonl").write_text("{}\n")
    importing = Importing()
    with pytest.raises(InputError, match="no prompt for a suite"):
        write_suite(entries_in(tmp_path / "a.jsonl", importing), tmp_path / "suite.jsonl", replaces=False)
    assert not (tmp_path / "suite.jsonl").exists()


def test_the_database_of_llm_is_imported_too(tmp_path):
    with sqlite3.connect(tmp_path / "logs.db") as database:
        database.execute("CREATE TABLE conversations (id TEXT, name TEXT, model TEXT)")
        database.execute(
            "CREATE TABLE responses (id TEXT, model TEXT, prompt TEXT, system TEXT, response TEXT, "
            "conversation_id TEXT, datetime_utc TEXT)"
        )
        database.execute(
            "INSERT INTO responses VALUES ('r1', 'm', 'Hi', NULL, 'Hello.', 'c1', '2026-10-01T10:00:00')"
        )
    database.close()
    (entry,) = entries_in(tmp_path / "logs.db", Importing())
    assert (entry.prompt, entry.answer, entry.conversation) == ("Hi", "Hello.", "c1")


def contains(*values):
    return [{"type": "contains", "value": [*values], "match": "any", "ignore_case": True}]


def test_samples_of_inspect_and_openai_evals_have_checks(imported):
    inspect = [
        {
            "input": "Capital of France?",
            "target": "Paris",
            "id": 1,
            "metadata": {"subject": "geography", "n": 3},
        },
        {"input": [message("system", "Be brief."), message("user", "2+2?")], "target": ["4", "four"]},
        {"input": "Largest?", "choices": ["Mars", "Jupiter"], "target": "B"},
    ]
    evals = [{"input": [message("system", "Be brief."), message("user", "2+2?")], "ideal": "4"}]
    entries, importing = imported("samples.jsonl", [*inspect, *evals])
    assert entries == [
        {"prompt": "Capital of France?", "tags": ["subject:geography"], "assertions": contains("Paris")},
        {"system": "Be brief.", "prompt": "2+2?", "assertions": contains("4", "four")},
        {
            "prompt": "Largest?\n\nA) Mars\nB) Jupiter\n\nAnswer with one letter: A, B.",
            "expected": "B",
            "choices": ["A", "B"],
        },
        {"system": "Be brief.", "prompt": "2+2?", "assertions": contains("4")},
    ]
    assert not importing.messages


PROMPTFOO = r"""
# yaml-language-server: $schema=https://promptfoo.dev/config-schema.json
prompts:
  - file://prompts.txt
  - '[{"role": "system", "content": "Speak like a pirate."}, {"role": "user", "content": "{{body}}"}]'
providers:
  - openai:gpt-4.1-mini
defaultTest:
  assert:
    - type: latency
      threshold: 5000
tests:
  - description: Check for exact match
    vars:
      body: Yes
    assert:
      - type: equals
        value: Yarr
      - type: not-icontains-any
        value: [as an AI, "{{body}}"]
  - vars:
      body: [Hello world, I'm hungry]
    metadata:
      category: greeting
    assert:
      - type: javascript
        value: output.startsWith('Ahoy')
      - type: contains-json
      - type: python
        value: file://checks.py:polite
        threshold: 0.5
      - type: python
        value: len(output) > 3
      - type: is-json
        value: {type: object}
      - type: word-count
        value: {max: 20}
      - $ref: '#/assertionTemplates/containsPirateNoise'
  - file://tests.csv
"""
ROWS = (
    "body,__expected1,__expected2,__metadata:category,__metadata:tags[],__description\n"
    '"Land, ho","icontains: grub","llm-rubric:Does it describe {{body}}?",ships,"sea,advanced\\,theory",A row\n'
    "Ahoy,starts-with:Arr,,,,\n"
)


def test_a_configuration_of_promptfoo_is_prompts_times_tests(imported, tmp_path):
    (tmp_path / "prompts.txt").write_text("Rephrase: {{body}}\n---\nIn French: {{ body | upper }}\n")
    (tmp_path / "tests.csv").write_text(f"{ROWS}Broken,row\n")
    (tmp_path / "checks.py").write_text("def polite(output, context):\n    return True\n")
    entries, importing = imported("promptfooconfig.yaml", PROMPTFOO)
    latency = {"type": "latency", "max_total_s": 5.0}
    assert [it["prompt"] for it in entries[:9]] == [
        "Rephrase: Yes", "In French: YES", "Yes",
        "Rephrase: Hello world", "In French: HELLO WORLD", "Hello world",
        "Rephrase: I'm hungry", "In French: I'M HUNGRY", "I'm hungry",
    ]  # fmt: skip
    assert entries[2]["system"] == "Speak like a pirate."
    assert entries[0]["assertions"] == [
        latency,
        {"type": "equals", "value": "Yarr"},
        {"type": "contains", "value": ["as an AI", "Yes"], "match": "any", "ignore_case": True, "not": True},
    ]
    assert entries[3]["tags"] == ["category:greeting"]
    assert entries[3]["assertions"] == [
        latency,
        {"type": "contains_json"},
        {"type": "python", "file": "checks.py", "function": "polite", "minimum": 0.5},
        {"type": "json_schema", "schema": {"type": "object"}},
        {"type": "length", "maximum": 20},
    ]
    assert entries[9]["tags"] == ["category:ships", "tags:sea", "tags:advanced,theory"]
    assert entries[9]["assertions"] == [latency, {"type": "contains", "value": "grub", "ignore_case": True}]
    assert entries[-1]["assertions"] == [latency, {"type": "starts_with", "value": "Arr"}]
    assert importing.skipped == {
        "assertions of the type javascript": 6,
        "assertions of the type python": 6,
        "assertions of the type unknown": 6,
        "assertions of the type llm-rubric": 3,
    }
    assert [it[:33] for it in importing.messages] == ["tests.csv:4: The row has 2 cells "]
    _, outside = imported("promptfooconfig.yaml", "prompts: [file:///etc/hosts]\ntests: []\n")
    assert "It must be in the same folder" in outside.messages[0]


def test_rows_of_data_fill_the_template(imported):
    entries, importing = imported(
        "tests.csv", ROWS + 'Broken,row\n"Ha {{ x }}",contains:a,,,,\n', "Rephrase: {{ body }}"
    )
    assert [it["prompt"] for it in entries] == [
        "Rephrase: Land, ho",
        "Rephrase: Ahoy",
        "Rephrase: Ha {{ x }}",
    ]
    assert [it[:33] for it in importing.messages] == ["tests.csv:4: The row has 2 cells "]
    rows = [{"question": "1+1?", "expected": 2}, {"other": 1}]
    entries, importing = imported("data.jsonl", rows, "{{ question }} Only the number.")
    assert entries == [{"prompt": "1+1? Only the number.", "expected": 2}]
    assert "data.jsonl:2: {{ question }} has no value" in importing.messages[0]
    _, importing = imported("tests.csv", ROWS)
    assert importing.messages[0] == "tests.csv:2: This has no known form."
