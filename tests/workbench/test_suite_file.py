"""Suite files in all formats, good and bad."""

import csv
import io
import json
import re
import tracemalloc
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given, settings
from hypothesis import strategies as st

from paragone import InputError, Message
from paragone.wire import from_json, to_json
from paragone_workbench.experiments.assertions import load_assertions
from paragone_workbench.experiments.suite import AssertionSpec, Suite, SuitePrompt, filter_prompts
from paragone_workbench.experiments.suite_file import read_suite

CATALOG = load_assertions()


@pytest.fixture
def read(tmp_path):
    """A function that reads a suite from a file with this content."""

    def reading(name: str, content: str | bytes, **options) -> Suite:
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return read_suite(path, CATALOG, **options)

    return reading


@pytest.fixture
def refused(read):
    """A function that returns the error of a file that is refused, without the folder."""

    def reading(name: str, content: str | bytes) -> str:
        with pytest.raises(InputError) as caught:
            read(name, content)
        return re.sub(r"/\S*/", "", str(caught.value))

    return reading


def user(text: str) -> Message:
    return Message(role="user", text=text)


def system(text: str) -> Message:
    return Message(role="system", text=text)


RECORDS: list[dict[str, Any]] = [
    {
        "prompt": "The capital of {{ country }}?",
        "system": "Be brief.",
        "expected": "Paris",
        "tags": ["geo", "easy"],
        "variables": {"country": "France"},
        "assertions": [{"type": "contains", "ignore_case": True}],
    },
    {
        "messages": [
            {"role": "user", "content": "Hello."},
            {"role": "assistant", "content": "Hi!"},
            {"role": "user", "content": "A colour?"},
        ],
        "assertions": [{"type": "length", "maximum": 3, "not": True}],
    },
]


def as_jsonl() -> str:
    return "\n".join(map(json.dumps, RECORDS))


def as_csv() -> str:
    rows = io.StringIO(newline="")
    writer = csv.writer(rows)
    writer.writerow(["prompt", "messages", "system", "expected", "tags", "country", "assertions"])
    one, other = RECORDS
    writer.writerow(
        [one["prompt"], "", one["system"], "Paris", "geo;easy", "France", json.dumps(one["assertions"])]
    )
    writer.writerow(["", json.dumps(other["messages"]), "", "", " ", "", json.dumps(other["assertions"])])
    return rows.getvalue()


def as_toml() -> str:
    return tomli_w.dumps({"prompts": RECORDS})


@pytest.mark.parametrize(
    ("name", "content"), [("s.jsonl", as_jsonl()), ("s.csv", as_csv()), ("S.TOML", as_toml())]
)
@pytest.mark.parametrize(("newline", "encoding"), [("\n", "utf-8"), ("\r\n", "utf-8-sig")])
def test_every_format_gives_the_same_suite(read, name, content, newline, encoding):
    suite = read(name, content.replace("\r\n", "\n").replace("\n", newline).encode(encoding))
    assert (suite.name, suite.problems) == (Path(name).stem, ())
    first, second = suite.prompts
    assert first.messages == (system("Be brief."), user("The capital of France?"))
    assert (first.expected, first.tags, first.variables) == ("Paris", ("geo", "easy"), {"country": "France"})
    assert first.assertions == (AssertionSpec(type="contains", options={"ignore_case": True}),)
    assert second.messages == (user("Hello."), Message(role="assistant", text="Hi!"), user("A colour?"))
    assert second.assertions == (AssertionSpec(type="length", options={"maximum": 3}, negated=True),)


def test_prompts_of_csv_have_their_lines_and_indices(read):
    """The line of a row is the one where it begins, also after a row of several lines."""
    suite = read("s.csv", 'prompt,expected\n"a\nb\nc",x\n\nd,e,f\n"g",\n"h""i",x\n')
    assert [(prompt.index, prompt.line, prompt.text) for prompt in suite.prompts] == [
        (0, 2, "a\nb\nc"),
        (2, 7, "g"),
        (3, 8, 'h"i'),
    ]
    (problem,) = suite.problems
    assert problem[0] == 6
    assert problem[1].startswith("The row has 3 cells and the header 2.")


def test_the_nearest_system_prompt_applies(read):
    text = """system = "of the file"
[[prompts]]
prompt = "a"
[[prompts]]
prompt = "b"
system = "its own"
[[prompts]]
prompt = "c"
system = ""
[[prompts]]
messages = [{role = "system", content = "in the messages"}, {role = "user", content = "d"}]
"""
    suite = read("s.toml", text, system="of the command")
    assert [prompt.messages for prompt in suite.prompts] == [
        (system("of the file"), user("a")),
        (system("its own"), user("b")),
        (user("c"),),
        (system("in the messages"), user("d")),
    ]
    suite = read("s.jsonl", '{"prompt": "a"}', system="of the command")
    assert suite.prompts[0].messages == (system("of the command"), user("a"))


def test_variables_are_filled_in_everywhere(read):
    record = {
        "system": "Speak {{ language }}.",
        "messages": [
            {"role": "user", "content": "{{ n }} + {{n}}"},
            {"role": "assistant", "content": "{% for i in x %}\r\n{# no #} {\\d{2}} {{n}}\n"},
        ],
        "expected": "{{ n + n }} {{ language | upper }}",
        "variables": {"language": "French", "n": 2},
    }
    (prompt,) = read("s.jsonl", json.dumps(record)).prompts
    assert [message.text for message in prompt.messages] == [
        "Speak French.",
        "2 + 2",
        "{% for i in x %}\r\n{# no #} {\\d{2}} 2\n",
    ]
    assert prompt.expected == "4 FRENCH"


def test_variables_that_cannot_be_filled_in_are_problems(read, refused):
    for text, message in (
        ("{{ nam }}", "{{ nam }} has no value: 'nam' is undefined. There are: name."),
        ("{{ ''.__class__.__mro__ }}", "has no value"),
        ("{{ name + name }}", "+ adds numbers only"),
        ("{{ " + "9" * 6000 + " }}", "9… is longer than 1,000 characters."),
    ):
        said = refused("s.jsonl", json.dumps({"prompt": text, "variables": {"name": "n"}}))
        assert said.startswith("s.jsonl:1: ")
        assert message in said
    tracemalloc.start()  # a text that grows to gigabytes is refused while it grows
    record = {"prompt": "{{ x }}" * 20_000, "variables": {"x": "x" * 100_000}}
    said = refused("s.jsonl", json.dumps(record))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert said.startswith("s.jsonl:1: The text with its variables filled in is longer than 16,777,216 chara")
    assert peak < 2**26
    rest = "{{" * 200_000  # braces that are never closed: each would search the rest of the text
    (prompt,) = read("s.jsonl", json.dumps({"prompt": "{{ x }}" + rest, "variables": {"x": "1"}})).prompts
    assert prompt.text == "1" + rest


def test_an_expected_answer_without_assertions_is_compared(read):
    suite = read(
        "s.jsonl",
        '{"prompt": "a", "expected": "x"}\n'
        '{"prompt": "b", "expected": 4.5}\n'
        '{"prompt": "c", "expected": "x", "assertions": []}\n'
        '{"prompt": "d"}\n'
        '{"prompt": "e", "expected": "x", "assertions": [{"type": "json"}]}\n',
    )
    kinds = [[spec.type for spec in prompt.assertions] for prompt in suite.prompts]
    assert kinds == [["equals"], ["equals"], ["equals"], [], ["json"]]
    assert suite.prompts[1].expected == "4.5"


GOOD = '{"prompt": "good"}\n'


def test_a_faulty_record_is_reported_and_skipped(read):
    faults = {
        "{": "The text is not valid JSON: Expecting property name enclosed in double quotes, at character 2.",
        '{"prompt": "\\ud800"}': "The text has half of a surrogate pair, which is not a character.",
        '{"promt": "a"}': "There is no key 'promt'. Did you mean 'prompt'?",
        '{"messages": [{"role": "me", "content": ""}]}': "messages[0].role must be assistant, system or user.",
        '{"prompt": "a", "assertions": [{"type": "contains", "valu": "x"}]}': "There is no option 'valu' of the "
        "assertion 'contains'. Did you mean 'value'?",
    }
    suite = read("s.jsonl", GOOD + "\n".join(faults) + "\n" + GOOD)
    assert [prompt.index for prompt in suite.prompts] == [0, len(faults) + 1]
    for number, (problem, message) in enumerate(zip(suite.problems, faults.values(), strict=True), 2):
        assert problem == (number, message)
    suite = read("s.csv", "prompt,assertions,x\ngood,,\na\na,{,\n,,\ngood,,\n")
    assert [line for line, _ in suite.problems] == [3, 4]
    assert "The row has 1 cells and the header 3." in suite.problems[0][1]
    assert "The column 'assertions': The text is not valid JSON" in suite.problems[1][1]
    assert suite.prompts[-1].line == 6


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("s.jsonl", "", 's.jsonl has no prompts. Write a prompt a line: {"prompt": "Why is the sky blue?"}.'),
        (
            "s.toml",
            "\n[[prompt]]\nprompt = 'a'",
            "s.toml:2: There is no key 'prompt'. Did you mean 'prompts'?",
        ),
        (
            "s.csv",
            b"\xef\xbb\xbfprompt\nok\n\xff",
            "s.csv:3: The file is not UTF-8 text: byte 0xff at position 1 of the line.",
        ),
        (
            "s.csv",
            "prompt,__expected\na,b",
            "s.csv:1: The column '__expected' looks like a check of answers, but",
        ),
        ("s.csv", "Expected,prompt\na,b", "Name the column of expected answers 'expected'."),
        (
            "s.json",
            "[]",
            "The ending of s.json is not a format of suites. The name of a suite ends in .jsonl,",
        ),
    ],
)
def test_unusable_suite_files_are_refused(refused, name, content, message):
    assert message in refused(name, content)


TEXT = st.text(st.characters(codec="utf-8"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
KEYS = st.sampled_from(
    ["prompt", "messages", "system", "answer", "conversation", "expected", "tags", "variables", "assertions"]
)


@settings(max_examples=50)
@given(
    st.dictionaries(
        KEYS,
        JSON | st.just([{"type": "contains"}]) | st.just([{"role": "user", "content": "{{"}]),
        max_size=4,
    )
)
def test_any_record_becomes_a_prompt_or_a_problem(tmp_path_factory, record):
    path = tmp_path_factory.getbasetemp() / "record.jsonl"
    path.write_text(GOOD + json.dumps(record))
    suite = read_suite(path, CATALOG)
    assert (len(suite.prompts) == 2) == (not suite.problems)
    for prompt in suite.prompts:
        assert from_json(SuitePrompt, json.loads(json.dumps(to_json(prompt)))) == prompt


def test_filtered_prompts_keep_their_indices(read):
    suite = read(
        "s.jsonl",
        '{"prompt": "The Capital?", "tags": ["geo", "easy"]}\n'
        '{"prompt": "Where?"}\n{"prompt": "where to", "tags": ["geo"]}',
    )
    for expression, chosen in {"tag:geo": [0, 2], "tag:ge": [], "WHERE": [1, 2]}.items():
        assert [prompt.index for prompt in filter_prompts(suite, expression).prompts] == chosen


def test_assertions_of_the_file_apply_to_all_prompts(read):
    text = """[[assertions]]
type = "length"
maximum = 5

[[assertions]]
type = "contains"

[[prompts]]
prompt = "a"
expected = "x"
assertions = [{type = "json"}]

[[prompts]]
prompt = "nothing expected"
"""
    suite = read("s.toml", text)
    (prompt,) = suite.prompts
    assert [spec.type for spec in prompt.assertions] == ["json", "length", "contains"]
    hint = "Give it a 'value', or the prompt an 'expected'."
    assert suite.problems == ((13, f"The assertion 'contains' has nothing to search for. {hint}"),)


@pytest.mark.parametrize("expected", [1, "Mars {{ n }}"])
def test_a_text_or_an_index_names_the_expected_choice(read, expected):
    record = {
        "prompt": "?",
        "choices": ["Venus", "Mars {{ n }}"],
        "expected": expected,
        "variables": {"n": 4},
    }
    (prompt,) = read("s.jsonl", json.dumps(record)).prompts
    assert (prompt.choices, prompt.expected) == (("Venus", "Mars 4"), "Mars 4")
    assert prompt.assertions == (AssertionSpec(type="likelihood"),)


@pytest.mark.parametrize(
    ("choices", "expected", "message"),
    [
        (["a", "b"], 2, "'expected' is none of the 'choices': 2."),
        (["a", "b"], "c", "'expected' is none of the 'choices': 'c'."),
        (["a", "a"], "a", "'choices' needs two texts or more"),
        (["a", " "], "a", "'choices' needs two texts or more"),
    ],
)
def test_wrong_choices_are_refused(refused, choices, expected, message):
    assert message in refused(
        "s.jsonl", json.dumps({"prompt": "?", "choices": choices, "expected": expected})
    )
