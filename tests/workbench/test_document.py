"""Documents: their streaming, and what is said of those that cannot be read."""

import asyncio
import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.workbench.conversation_writer import LARGE, SMOL, ConversationWriter
from tests.workbench.experiment_writer import write_document
from tests.workbench.history_file import open_history, open_store
from tests.workbench.test_store_experiments import EXPERIMENT, ended, key

from paragone import InputError, Message, ParagoneError, RunSettings, Token
from paragone.wire import to_json
from paragone_workbench.experiments.document import document_of_experiment, read_document
from paragone_workbench.experiments.recorded_runs import recorded_runs
from paragone_workbench.runs.metrics import RunMetrics
from paragone_workbench.store.votes import Vote, VotedAnswer

PROMPTS = [
    (
        index,
        {
            "index": index,
            "line": index + 1,
            "messages": [to_json(Message(role="user", text=f"Colour {index}?"))],
            "tags": ["colour"],
        },
    )
    for index in (0, 2, 5)
]


async def saved(history, runs=6):
    """Save an experiment with runs of two engines, and return its id."""

    def write(store):
        new = store.experiments.create(EXPERIMENT, PROMPTS)
        for number in range(runs):
            run = ended(
                f"Answer {number}.",
                engine=(SMOL, LARGE)[number % 2],
                finish="stop",
                settings=RunSettings(seed=number, sampling={"temperature": 0.5}),
                metrics=RunMetrics(ttft_s=0.5),
                tokens=(Token(text="Answer", id=3, logprob=-0.5, time=1.5),),
            )
            store.experiments.save(
                new, key(2 * (number % 2), number % 2, number // 2), run, [{"passed": True}]
            )
        store.votes.add(
            Vote(
                candidates=tuple(VotedAnswer(engine=it, backend="b", model="m", run="r") for it in "ab"),
                choice=0,
                blind=True,
                created=1.0,
                experiment_id=new,
                prompt_index=0,
            )
        )
        return new

    return await history.call(write)


async def test_a_document_contains_the_whole_experiment(history, tmp_path):
    new = await saved(history)
    path = await write_document(history, f"e{new}", tmp_path / "d.json")
    data = json.loads(path.read_text())
    head = ("paragone_document", "kind", "id", "name", "schedule", "repetitions", "machine", "engines")
    assert [data[name] for name in head] == [
        1, "experiment", f"e{new}", "colours.jsonl", "swap", 2, {"cores": 2}, [to_json(SMOL), to_json(LARGE)],
    ]  # fmt: skip
    assert [(prompt["index"], prompt["tags"]) for prompt in data["prompts"]] == [
        (index, ["colour"]) for index in (0, 2, 5)
    ]
    assert len(data["manifests"]) == 2, "one for each engine, and not for each run"
    assert "request" not in data["manifests"][0]
    run = data["runs"][0]
    assert (run["prompt"], run["engine"], run["repetition"], run["text"]) == (0, 0, 0, "Answer 0.")
    assert (run["assertions"], run["tokens"][0]["logprob"]) == ([{"passed": True}], -0.5)
    assert data["votes"][0]["choice"] == "0"
    recorded = await recorded_runs(history, f"e{new}")
    for one, other in zip(recorded, read_document(path), strict=True):
        assert (one.id, one.messages) == (other.id, other.messages)
        for name in ("definition", "text", "state", "finish", "settings", "metrics", "tokens", "manifest"):
            assert getattr(other.result, name) == getattr(one.result, name), name


async def test_a_document_is_written_run_by_run(history):
    new = await saved(history, runs=210)
    pieces = await history.call(lambda store: list(document_of_experiment(store, new)))
    assert max(map(len, pieces)) < 2000
    assert len(json.loads("".join(pieces))["runs"]) == 210


async def test_a_conversation_with_branches_and_failed_runs_is_read_back(history, tmp_path):
    store = open_store()
    writer = ConversationWriter(store, "first", system="Be brief.")
    (first,) = writer.conversation.prompts
    lane = writer.lane()
    one = writer.answer(first, lane, "one")
    second = writer.prompt("second", parent=first)
    writer.answer(second, lane, "two", manifest={})
    other = writer.prompt("other", parent=first)
    writer.answer(other, lane, "", state="failed", continues=one, error=ParagoneError("It broke."))
    store.close()
    path = await write_document(history, f"c{writer.number}", tmp_path / "d.json")
    runs = read_document(path)
    texts = [[message.text for message in run.messages] for run in runs]
    assert texts == [
        ["Be brief.", "first"],
        ["Be brief.", "first", "one", "second"],
        ["Be brief.", "first", "one", "other"],
    ]
    assert runs[1].result.manifest == {}
    assert runs[2].result.state == "failed"
    assert runs[2].result.error == "It broke."


@pytest.fixture(scope="module")
def valid_text(tmp_path_factory):
    folder = tmp_path_factory.mktemp("valid")

    async def write():
        history = await open_history(folder / "history.db")
        path = await write_document(history, f"e{await saved(history, runs=3)}", folder / "d.json")
        await history.close()
        return path.read_text()

    return asyncio.run(write())


@pytest.fixture
def valid(valid_text):
    return json.loads(valid_text)


DELETE = object()


def altered(data, where, value):
    """Return the data with another value at this place. Copies only what holds the value."""
    first, *rest = where
    changed = copy.copy(data)
    if rest:
        changed[first] = altered(data[first], rest, value)
    elif value is DELETE:
        del changed[first]
    else:
        changed[first] = value
    return changed


def test_the_error_names_the_invalid_part_of_a_document(valid, tmp_path):
    path = tmp_path / "altered.json"
    for where, value, reason in (
        (["paragone_document"], 2, "has version 2 of the format; this paragone reads version 1. Update paragone."),
        (["prompts"], DELETE, "prompts is missing."),
        (["prompts", 1, "messages"], [], "prompts[1].messages must be a list of length >= 1."),
        (["runs", 2, "engine"], 9, "runs[2] names engine 9, which is missing"),
        (["runs", 1, "metrics"], {"ttft_s": "1"}, "runs[1]: metrics: "),
        (["runs", 1, "metrics"], {"ttft_s": 1e30}, "runs[1].metrics[...] must be a number < 9.2"),
    ):  # fmt: skip
        path.write_text(json.dumps(altered(valid, where, value)))
        with pytest.raises(InputError) as caught:
            read_document(path)
        assert str(path) in caught.value.message
        assert reason in str(caught.value)
    for content in (b"\xff\xfe", b"[" * 100_000, b'"paragone_document"'):
        path.write_bytes(content)
        with pytest.raises(InputError, match=r"is not valid JSON: |is not a document"):
            read_document(path)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


CHANGES = JSON | st.just(DELETE)


def places(data):
    """All paths to values in a document."""
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    return [(name, *inner) for name, value in items for inner in ((), *places(value))]


@pytest.mark.slow
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=30)
@given(data=st.data())
def test_any_changed_document_is_read_or_refused_with_a_message(valid, tmp_path, data):
    changed = valid
    for _ in range(data.draw(st.integers(1, 3))):
        where = data.draw(st.sampled_from(places(changed)))
        changed = altered(changed, where, data.draw(CHANGES))
        if not changed:
            break
    path = tmp_path / "fuzzed.json"
    path.write_text(json.dumps(changed))
    try:
        document = read_document(path)
    except InputError:
        return
    for run in document:
        assert run.messages
