"""A conversation as a suite, and the prompt of an experiment as a conversation."""

import contextlib
import json
import sqlite3

import pytest
from tests.workbench.conversation_writer import LARGE, SMOL, ConversationWriter, result_of
from tests.workbench.history_file import open_store

from paragone import Image, InputError, Message
from paragone.wire import to_json
from paragone_workbench.experiments.suite import SuitePrompt
from paragone_workbench.files.importing import add_prompt
from paragone_workbench.files.suite_import import SuiteImport, history_entries, write_suite
from paragone_workbench.paths import history_file
from paragone_workbench.store import Experiment, RunKey


@pytest.fixture
def store():
    with contextlib.closing(open_store()) as opened:
        yield opened


def test_a_suite_has_the_prompts_of_an_open_lane_without_images(store, tmp_path):
    writer = ConversationWriter(store, "closed")
    first = writer.conversation.prompts[0]
    closed, lane = writer.lane(), writer.lane(LARGE)
    writer.answer(first, closed, "From the closed lane.")
    writer.answer(first, lane, "Yes.")
    writer.change(closed, closed=True)
    image = Image(data="AAAA", media_type="image/png", name="dot.png")
    writer.answer(writer.prompt("What is this?", first, images=(image,)), lane, "A dot.")
    path, importing = tmp_path / "s.jsonl", SuiteImport(print)
    entries = [*history_entries(store, [1], None, lambda backend: None, importing)]
    assert write_suite(entries, path, replaces=False) == (1, 1)
    assert importing.skipped == {"turns from an image on": 1}
    assert json.loads(path.read_text()) == {"prompt": "closed", "answer": "Yes.", "conversation": "c1"}
    with pytest.raises(InputError, match="exists already"):
        write_suite(entries, path, replaces=False)
    with pytest.raises(InputError, match=r"must end in \.jsonl"):
        write_suite(entries, tmp_path / "s.csv", replaces=False)


def test_an_experiments_prompt_becomes_a_conversation_with_repetitions_as_variants(store):
    messages = (
        Message(role="system", text="Be brief."),
        Message(role="user", text="One?"),
        Message(role="assistant", text="Given."),
        Message(role="user", text="Two?"),
    )
    experiment = Experiment(
        name="s.jsonl",
        fingerprint="f",
        schedule="swap",
        repetitions=2,
        engines=(SMOL, LARGE),
        machine={},
        prompts=1,
        created=7.0,
    )
    number = store.experiments.create(
        experiment, [(0, to_json(SuitePrompt(index=0, line=1, messages=messages)))]
    )
    for engine, definition in enumerate((SMOL, LARGE)):
        for repetition in range(2):
            result = result_of(definition, f"answer {engine} {repetition}")
            store.experiments.save(number, RunKey(0, engine, repetition), result)
    added = add_prompt(store, number, 1)
    assert added.is_new
    assert add_prompt(store, number, 4) == added._replace(is_new=False)
    saved = store.load(added.number)
    assert [(prompt.text, prompt.active_system) for prompt in saved.conversation.prompts] == [
        ("One?", "Be brief."),
        ("Two?", "Be brief."),
    ]
    for engine, lane in enumerate(saved.lanes):
        given, *answers = lane.runs
        assert given.text == "Given."
        assert [(run.text, run.continues) for run in answers] == [
            (f"answer {engine} 0", given),
            (f"answer {engine} 1", given),
        ]
        assert lane.head is answers[-1]
    with contextlib.closing(sqlite3.connect(history_file(), isolation_level=None)) as database:
        database.execute(
            "UPDATE turn SET continues_id = ? WHERE run_id = ?",
            (saved.lanes[0].runs[1].id, saved.lanes[0].runs[0].id),
        )
    assert len(store.load(added.number).runs) == 6, "damaged records that form a circle"
    store.delete_conversation(added.number)
    assert len(list(store.experiments.runs(number))) == 4, "the experiment keeps its runs"
