"""The files that are offered for conversations that could not be saved."""

import dataclasses
import io
import json
import sys

import pytest

from paragone_tui.history_opening import offer_files
from paragone_workbench.conversation.tree import Conversation, Prompt
from paragone_workbench.engines.definitions import EngineDefinition
from paragone_workbench.experiments.document import read_document
from paragone_workbench.runs.run import Run
from paragone_workbench.store.records import LaneRecord, SavedConversation


@pytest.fixture
def conversation():
    """A conversation of two prompts in one lane, which has no number."""
    tree = Conversation()
    lane = LaneRecord(definition=EngineDefinition(name="smol", backend="rogue", model="steady"), position=0)
    for text in ("Why\x1b[2J?", "And then?"):
        prompt = tree.add(Prompt(text=text, parent=tree.prompts[-1] if tree.prompts else None))
        run = Run.of(lane.definition, prompt=prompt, continues=lane.head)
        run.add("answer", f"Because of {text}")
        run.result = dataclasses.replace(run.result, state="done", finish="stop")
        run.phase = "ended"
        lane.head = run
        lane.runs.append(run)
    return SavedConversation(
        conversation=tree, title=tree.prompts[0].text, updated=0.0, lanes=(lane,), runs=tuple(lane.runs)
    )


@pytest.fixture
def answer(monkeypatch, tmp_path):
    """A function that sets what the user types."""
    monkeypatch.chdir(tmp_path)
    return lambda typed: monkeypatch.setattr(sys, "stdin", io.StringIO(typed))


def offer(*conversations):
    offer_files(conversations, lambda name: None)


def test_enter_writes_to_the_proposed_file(conversation, answer, tmp_path, capsys):
    answer("\n")
    offer(conversation)
    (written,) = tmp_path.glob("*.json")
    texts = [run.result.text for run in read_document(written)]
    assert texts == ["Because of Why\x1b[2J?", "Because of And then?"]
    document = json.loads(written.read_text())
    assert document["id"] == "unsaved"
    assert [run["continues"] for run in document["runs"]] == [None, "unsaved-1"]
    told = capsys.readouterr().err
    assert "(2 prompts, 2 answers)" in told
    assert f"{written} is written" in told
    assert "\x1b" not in told


def test_a_file_that_exists_is_replaced_only_when_it_is_named_twice(conversation, answer, tmp_path, capsys):
    (tmp_path / "kept.md").write_text("precious")
    (tmp_path / "all.md").write_text("old")
    answer("kept.md\nall.md\nall.md\n")
    offer(conversation)
    assert (tmp_path / "kept.md").read_text() == "precious"
    assert "Because of And then?" in (tmp_path / "all.md").read_text()
    assert "all.md exists already. Type the same path again to replace the file." in capsys.readouterr().err


@pytest.mark.parametrize("typed", ["n\n", ""])
def test_no_file_is_written_without_consent(conversation, answer, tmp_path, typed, capsys):
    answer(typed)
    offer(conversation)
    assert list(tmp_path.iterdir()) == []
    assert "The conversation was not written." in capsys.readouterr().err
